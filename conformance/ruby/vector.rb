# frozen_string_literal: true

require "json"
require_relative "comparison"

# Bytes in place of a message, for what no message can hold.
Bytes = Struct.new(:bytes) do
  # What a stub asks the class of a message for.
  def self.encode(message) = message.bytes
end

# What is to be called, and what must come of it.
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

  # What is sent, in order; messages are of a type.
  def sent(type)
    requests = @json["requests"]
    return [sent_as(type, @json["request"], @json["request_bytes"])] unless requests

    requests.map { |request| sent_as(type, request["message"], request["bytes"]) }
  end

  # Where what came of the call is not what must come of it; nil where it is. What ends a call
  # always counts, the rest where the vector speaks of it.
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
