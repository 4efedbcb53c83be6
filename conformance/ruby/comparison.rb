# frozen_string_literal: true

# Keys that differ between servers or calls.
IGNORED = %w[timing deviation message version].freeze

# Returns the first difference from the expected value; nil if there is none. In both values, nil
# stands for an absent value.
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

# Whether the key of the object at a path matches any value.
def any?(path, key, expected)
  key == "retryAfter" || (path.split(".").last == "metadata" && expected == "*")
end

def shown(value) = value.nil? ? "nothing" : JSON.generate(value)
