# frozen_string_literal: true

# Runs all vectors: conformance.rb VECTORS serving=HOST:PORT [faulty=HOST:PORT] [draining=HOST:PORT]

require "json"
require_relative "server"
require_relative "vector"

# Returns the first difference from the vector's expectations; nil if there is none.
def failure(server, vector, tolerance)
  observation = server.holding_streams(vector) { server.call(vector) }
  vector.failure(observation.parts, tolerance)
rescue StandardError => e
  "#{e.class}: #{e.message.lines.first}"
end

def summary(passed, failed, skipped)
  ["#{passed} passed", "#{failed} failed", *("#{skipped} skipped" if skipped.positive?)].join(", ")
end

# The numbers of vectors that passed, failed and were skipped.
def run(group, servers, tolerance)
  vectors = group["vectors"].map { |json| Vector.new(json) }
  server = servers[group["server"]] or return [0, 0, vectors.size]
  failed = vectors.count do |vector|
    found = failure(server, vector, tolerance)
    puts "FAIL #{group['name']}/#{vector.name}: #{found}" if found
    found
  end
  [vectors.size - failed, failed, 0]
end

NOTHING_RAN = 2

$stdout.sync = true
document = JSON.parse(File.read(ARGV.shift, encoding: "UTF-8"))
targets = ARGV.to_h { |argument| argument.split("=", 2) }
servers = targets.transform_values { |target| Server.new(target) }
sums = document["groups"].map do |group|
  sum = run(group, servers, document["tolerance"])
  puts "group #{group['name']}: #{summary(*sum)}"
  sum
end
total = sums.transpose.map(&:sum)
puts summary(*total)
passed, failed = total
exit(failed.positive? ? 1 : (passed.positive? ? 0 : NOTHING_RAN))
