# frozen_string_literal: true

# Classifies one text: classify.rb HOST:PORT TEXT [CA.pem]

require "classwire/v1/classwire_services_pb"
require_relative "channel"
require_relative "problem"

# Returns the answer; raises the last error before the deadline.
def classify(stub, request, deadline)
  # The server knows the deadline and rejects at once a call that it can't answer by then.
  stub.classify(request, deadline: deadline)
rescue GRPC::BadStatus => e
  # A busy server tells when to retry.
  retry_after_s = Problem.new(e).retry_after_s
  raise unless retry_after_s && Time.now + retry_after_s < deadline

  sleep retry_after_s
  retry
end

# Returns what to do about an error. Decides by the reason, whose meaning never changes.
def advice(problem)
  case problem.reason
  when "EMPTY_TEXT", "TEXT_TOO_LARGE" then "send another #{problem.field}"
  when "TOO_MANY_TOKENS" then "set options.truncation: windows read all of it, DROP_END drops its end"
  when "OVERLOADED" then "allow more time"
  when "POISON_INPUT" then "do not retry; tell the operator"
  else problem.message
  end
end

target, text, ca_file = ARGV
# One stub serves all threads of a program.
stub = Classwire::V1::ClassifyService::Stub.new(
  target, credentials(ca_file), channel_args: CHANNEL_OPTIONS
)
request = Classwire::V1::ClassifyRequest.new(input: { text: text })
begin
  best = classify(stub, request, Time.now + 10).result.scores.first
  puts format("%s %.4f", best.label, best.score)
rescue GRPC::BadStatus => e
  problem = Problem.new(e)
  abort "#{problem.reason}: #{advice(problem)}"
end
