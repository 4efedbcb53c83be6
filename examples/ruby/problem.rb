# frozen_string_literal: true

require "google/protobuf/well_known_types" # without it, Any has no unpack
require "google/rpc/code_pb"
require "google/rpc/error_details_pb"
require "grpc"

# The details of a failed call.
class Problem
  # Decide by this. gRPC's own errors have no reason; it is the code's name then.
  attr_reader :reason
  # Path of the invalid field; nil if there is none.
  attr_reader :field
  # When to retry, in seconds; nil if the server sends no time.
  attr_reader :retry_after_s
  # Text for people; it may change.
  attr_reader :message

  # From the GRPC::BadStatus that a call raised.
  def initialize(error)
    @reason = Google::Rpc::Code.lookup(error.code).to_s
    @message = error.details
    error.to_rpc_status&.details&.each do |detail|
      if (info = detail.unpack(Google::Rpc::ErrorInfo))
        @reason = info.reason
      elsif (request = detail.unpack(Google::Rpc::BadRequest))
        @field = request.field_violations.first&.field
      elsif (retry_info = detail.unpack(Google::Rpc::RetryInfo))
        @retry_after_s = retry_info.retry_delay.to_f
      end
    end
  end
end
