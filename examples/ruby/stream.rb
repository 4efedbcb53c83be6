# frozen_string_literal: true

# Classifies each line of standard input, which may be endless: stream.rb HOST:PORT [CA.pem]
# Prints each line's number, label and score, or its number and the error's reason.

require "classwire/v1/classwire_services_pb"
require_relative "channel"
require_relative "lines"
require_relative "problem"

PATIENCE_S = 60 # without a response from any server

# The requests: first a config; after the server's limits, items, several in a message.
def requests(lines, stream, started)
  Enumerator.new do |sent|
    # A stream has no deadline, but each item has; it starts when the server reads the item.
    config = { item_timeout: { seconds: 60 } }
    sent << Classwire::V1::StreamClassifyRequest.new(config: config)
    limits = started.pop or next
    until (taken = lines.take(stream, limits)).empty?
      items = taken.map { |number, text| { id: number.to_s, input: { text: text } } }
      sent << Classwire::V1::StreamClassifyRequest.new(items: { items: items })
    end
  end
end

def print_result(result)
  best = result.outcome.classification&.scores&.first
  columns = best ? [best.label, format("%.4f", best.score)] : [result.outcome.error.reason]
  puts [result.id, *columns].join("\t")
end

# Sends lines on one stream and prints their results, until all are answered. Yields after each
# response. Raises GRPC::BadStatus if the stream ends before.
def classify(stub, lines)
  started = Queue.new
  stub.stream_classify(requests(lines, lines.open, started)).each do |response|
    yield
    started << response.started if response.started
    response.results&.results&.each do |result| # none in the first
      lines.answered(result.id.to_i)
      print_result(result)
    end
    $stdout.flush
  end
ensure
  started.close
  lines.close
end

target, ca_file = ARGV
stub = Classwire::V1::ClassifyService::Stub.new(
  target, credentials(ca_file), channel_args: CHANNEL_OPTIONS
)
lines = Lines.new($stdin)
last_word = Time.now
begin
  classify(stub, lines) { last_word = Time.now }
rescue GRPC::BadStatus => e
  # Any stream may end with UNAVAILABLE: the server drains, restarts or is gone. It ends with
  # CANCELLED if the server stopped before it saw the stream. A new stream sends the remaining lines.
  # TOO_MANY_STREAMS carries a retry time.
  problem = Problem.new(e)
  is_worth_it = [GRPC::Unavailable, GRPC::Cancelled].include?(e.class) || problem.retry_after_s
  unless is_worth_it && Time.now - last_word < PATIENCE_S
    abort "#{problem.reason}: #{problem.message}; #{lines.count} lines without a result"
  end
  sleep problem.retry_after_s || rand(0.1..1.0) # so that clients do not retry all at once
  retry
end
