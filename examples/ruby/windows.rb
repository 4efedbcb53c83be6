# frozen_string_literal: true

# Reads a long text in windows: windows.rb HOST:PORT TEXT [CA.pem]
# Prints label and score of the whole text, then of each window, with the part that it reads.

require "classwire/v1/classwire_services_pb"
require_relative "channel"
require_relative "problem"

target, text, ca_file = ARGV
stub = Classwire::V1::ClassifyService::Stub.new(
  target, credentials(ca_file), channel_args: CHANNEL_OPTIONS
)
request = Classwire::V1::ClassifyRequest.new(
  input: { text: text },
  options: {
    truncation: :TRUNCATION_WINDOWS,
    # Small windows tell where a label rises; by default they have the model's max_tokens.
    windows: { window_tokens: 24 },
    include_windows: true
  }
)
begin
  result = stub.classify(request, deadline: Time.now + 5).result
rescue GRPC::BadStatus => e
  problem = Problem.new(e)
  abort "#{problem.reason}: #{problem.message}"
end

best = result.scores.first
puts format("%s\t%.4f", best.label, best.score)
labels = result.scores.to_h { |score| [score.label_id, score.label] }
result.windows.each do |window|
  score, label_id = window.scores.each_with_index.max
  puts format("%s\t%.4f\t%s", labels[label_id], score, text[window.start...window.end])
end
