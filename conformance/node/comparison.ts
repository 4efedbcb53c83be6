/** Compares values and finds the first difference. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

const NOT_COMPARED = new Set(["timing", "deviation", "message", "version"]);

/** Returns the first difference of `got` from `expected`, or undefined if there is none. */
export function difference(
  expected: JsonValue | undefined,
  got: JsonValue | undefined,
  tolerance: number,
  path = "",
): string | undefined {
  if (Array.isArray(expected) && Array.isArray(got)) {
    return firstOf(Array(Math.max(expected.length, got.length)).keys(), (index) =>
      difference(expected[index], got[index], tolerance, `${path}[${index}]`),
    );
  }
  if (isObject(expected) && isObject(got)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(got)]);
    return firstOf(keys, (key) =>
      fieldDifference(key, expected[key], got[key], tolerance, path ? `${path}.${key}` : key),
    );
  }
  if (typeof expected === "number" && typeof got === "number") {
    if (Math.abs(expected - got) <= tolerance) return undefined;
  } else if (expected === got) return undefined;
  return `${path}: expected ${shown(expected)}, got ${shown(got)}`;
}

function fieldDifference(
  key: string,
  expected: JsonValue | undefined,
  got: JsonValue | undefined,
  tolerance: number,
  path: string,
): string | undefined {
  if (NOT_COMPARED.has(key)) return undefined;
  const bothThere = expected !== undefined && got !== undefined;
  if (key === "retryAfter" && bothThere) return undefined;
  if (key === "metadata" && isObject(expected) && isObject(got)) {
    return difference(withoutStars(expected, got), got, tolerance, path);
  }
  return difference(expected, got, tolerance, path);
}

/** Returns the expected metadata with `*` replaced by the received value, if any. */
function withoutStars(expected: JsonObject, got: JsonObject): JsonObject {
  const entries = Object.entries(expected);
  return Object.fromEntries(
    entries.map(([key, value]) => [key, value === "*" ? (got[key] ?? value) : value]),
  );
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function firstOf<T>(
  items: Iterable<T>,
  differ: (item: T) => string | undefined,
): string | undefined {
  for (const item of items) {
    const found = differ(item);
    if (found) return found;
  }
  return undefined;
}

function shown(value: JsonValue | undefined): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}
