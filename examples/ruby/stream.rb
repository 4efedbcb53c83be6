# frozen_string_literal: true

# Classifies standard input by the line, however long it is: stream.rb HOST:PORT [CA.pem]
# Prints for each line its number, label and score, or its number and the reason why it has none.

require "classwire/v1/classwire_services_pb"
require_relative "channel"
require_relative "lines"
require_relative "problem"

PATIENCE_S = 60 # without a word from any server

# What is sent: first a config; once a server has told its limits, items, several in a message.
def requests(lines, stream, started)
  Enumerator.new do |sent|
    # A stream has no deadline, each item has: it counts from the server's reading it.
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

# Sends lines by one stream and prints their results, until there are no more. Each response is a
# word from the server. Raises GRPC::BadStatus when the stream ends before.
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
  # Any stream may end as UNAVAILABLE: the server drains, restarts, or is gone; or as CANCELLED,
  # though nobody here cancels, when it stopped before it saw the stream. Another one gets what is
  # left. TOO_MANY_STREAMS says when to come back.
  problem = Problem.new(e)
  is_worth_it = [GRPC::Unavailable, GRPC::Cancelled].include?(e.class) || problem.retry_after_s
  unless is_worth_it && Time.now - last_word < PATIENCE_S
    abort "#{problem.reason}: #{problem.message}; #{lines.count} lines without a result"
  end
  sleep problem.retry_after_s || rand(0.1..1.0) # so that clients do not come all at once
  retry
end
