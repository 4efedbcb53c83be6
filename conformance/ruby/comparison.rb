# frozen_string_literal: true

# They differ from one server, or call, to another.
IGNORED = %w[timing deviation message version].freeze

# Where, and how, what came first differs from what is expected; nil where it is the same. In both,
# nil stands for what is not there.
def difference(expected, got, tolerance, path)
  case [expected, got]
  in [Hash, Hash]
    keys = (expected.keys | got.keys) - IGNORED
    keys.reject! { |key| expected[key] && got[key] && any?(path, key, expected[key]) }
    pairs = keys.map { |key| [expected[key], got[key], path.empty? ? key : "#{path}.#{key}"] }
  in [Array, Array] if expected.size == got.size
    pairs = expected.zip(got).map.with_index { |pair, place| [*pair, "#{path}[#{place}]"] }
  in [Numeric, Numeric]
    return if (expected - got).abs <= tolerance
  else
    return if expected == got
  end
  return "#{path}: expected #{shown(expected)}, got #{shown(got)}" unless pairs

  pairs.lazy.filter_map { |one, other, place| difference(one, other, tolerance, place) }.first
end

# Whether any value will do for the key of the object at a path.
def any?(path, key, expected)
  key == "retryAfter" || (path.split(".").last == "metadata" && expected == "*")
end

def shown(value) = value.nil? ? "nothing" : JSON.generate(value)
