#include "comparison.h"

#include <cmath>
#include <set>

namespace {

// Keys that differ between servers or calls.
const std::set<std::string> kIgnored = {"timing", "deviation", "message", "version"};

// Whether the key of the object at a path matches any value.
bool IsAny(const std::string& path, const std::string& key, const Json& expected) {
  const auto object = path.substr(path.rfind('.') + 1);
  return key == "retryAfter" || (object == "metadata" && expected == "*");
}

// Null stands for an absent value; messages have no null.
std::string Shown(const Json& value) { return value.is_null() ? "nothing" : value.dump(); }

std::optional<std::string> ObjectsDifference(const Json& expected, const Json& got,
                                             double tolerance, const std::string& path) {
  std::set<std::string> keys;
  for (const auto& [key, value] : expected.items()) keys.insert(key);
  for (const auto& [key, value] : got.items()) keys.insert(key);
  for (const auto& key : keys) {
    if (kIgnored.count(key)) continue;
    const Json wanted = expected.value(key, Json()), there = got.value(key, Json());
    if (!wanted.is_null() && !there.is_null() && IsAny(path, key, wanted)) continue;
    const auto place = path.empty() ? key : path + "." + key;
    if (auto difference = Difference(wanted, there, tolerance, place)) return difference;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> Difference(const Json& expected, const Json& got, double tolerance,
                                      const std::string& path) {
  if (expected.is_object() && got.is_object()) {
    return ObjectsDifference(expected, got, tolerance, path);
  }
  if (expected.is_array() && got.is_array() && expected.size() == got.size()) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto place = path + "[" + std::to_string(i) + "]";
      if (auto difference = Difference(expected[i], got[i], tolerance, place)) return difference;
    }
    return std::nullopt;
  }
  const bool is_same = expected.is_number() && got.is_number()
                           ? std::abs(expected.get<double>() - got.get<double>()) <= tolerance
                           : expected == got;
  if (is_same) return std::nullopt;
  return path + ": expected " + Shown(expected) + ", got " + Shown(got);
}
