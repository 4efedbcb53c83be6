# frozen_string_literal: true

require "google/protobuf/well_known_types" # unpacking
require "google/rpc/code_pb"
require "google/rpc/error_details_pb"
require "json"

# What came of a call, in the form of a vector's `expect`.
class Observation
  attr_reader :parts

  def initialize
    @parts = { "results" => {}, "order" => [] }
  end

  # Takes in the response of a unary call, or each of a stream.
  def receive(message)
    json = json_of(message)
    @parts["response"] ||= json
    @parts["first_response"] ||= json
    json.dig("results", "results")&.each do |result|
      receive_result(result["id"], result["outcome"])
    end
  end

  # Takes in the GRPC::BadStatus that ended the call. What is not there has no key; a domain is
  # there when it is not ours.
  def fail(status)
    @parts["error"] = error = { "code" => Google::Rpc::Code.lookup(status.code).to_s }
    status.to_rpc_status&.details&.each do |detail|
      if (info = detail.unpack(Google::Rpc::ErrorInfo))
        error.merge!(json_of(info))
        error.delete("domain") if info.domain == "classwire"
      elsif (request = detail.unpack(Google::Rpc::BadRequest))
        error["field"] = request.field_violations.first&.field.to_s
      elsif detail.is(Google::Rpc::RetryInfo)
        error["retry"] = true
      end
    end
  end

  private

  # A second result for an id is kept under a name that nobody expects.
  def receive_result(id, outcome)
    results = @parts["results"]
    results[results.key?(id) ? "#{id} again" : id] = outcome
    @parts["order"] << id
  end

  # Fields with default values are left out.
  def json_of(message) = JSON.parse(message.class.encode_json(message))
end
