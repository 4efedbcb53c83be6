# frozen_string_literal: true

require "json"
require_relative "comparison"

# Raw bytes instead of a message, for content that no message can hold.
Bytes = Struct.new(:bytes) do
  # The methods that a stub calls on a message's class.
  def self.encode(message) = message.bytes
end

# A call to make, and its expected results.
class Vector
  def initialize(json)
    @json = json
  end

  def name = @json["name"]
  def rpc = @json["rpc"]
  def headers = @json.fetch("headers", {})
  def compression = @json["compression"]
  def cancel = @json["cancel"]
  def held_streams = @json.fetch("held_streams", 0)
  def deadline = Time.now + @json.fetch("timeout_s", 30)

  # Returns the requests in order, as messages of a type.
  def sent(type)
    requests = @json["requests"]
    return [sent_as(type, @json["request"], @json["request_bytes"])] unless requests

    requests.map { |request| sent_as(type, request["message"], request["bytes"]) }
  end

  # Returns the first difference from the expected results; nil if there is none. Always compares the
  # status, other parts only if the vector has them.
  def failure(observed, tolerance)
    expected = @json["expect"]
    ["error", *%w[response first_response results order] & expected.keys].each do |part|
      path = part == "response" ? "" : part
      found = difference(expected[part], observed[part], tolerance, path)
      return found if found
    end
    nil
  end

  private

  def sent_as(type, json, bytes)
    bytes ? Bytes.new(bytes.unpack1("m0")) : type.decode_json(JSON.generate(json))
  end
end
