# frozen_string_literal: true

require "google/protobuf/well_known_types" # unpacking
require "google/rpc/code_pb"
require "google/rpc/error_details_pb"
require "json"

# A call's results, in the form of a vector's `expect`.
class Observation
  attr_reader :parts

  def initialize
    @parts = { "results" => {}, "order" => [] }
  end

  # Adds a response.
  def receive(message)
    json = json_of(message)
    @parts["response"] ||= json
    @parts["first_response"] ||= json
    return unless message.is_a?(Classwire::V1::StreamClassifyResponse)

    json.dig("results", "results")&.each do |result|
      receive_result(result["id"], result["outcome"])
    end
  end

  # Adds the GRPC::BadStatus that ended the call. Absent values have no key; the domain has one only
  # if it is not Classwire's.
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

  # Stores a second result for an id under a name that no vector has.
  def receive_result(id, outcome)
    results = @parts["results"]
    results[results.key?(id) ? "#{id} again" : id] = outcome
    @parts["order"] << id
  end

  # Omits fields with default values.
  def json_of(message) = JSON.parse(message.class.encode_json(message))
end
