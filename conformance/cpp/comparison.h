// Compares values by the kit's rules.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

using Json = nlohmann::json;

// Returns the first difference from the expected value; empty if there is none. Both may be null,
// which stands for an absent value.
std::optional<std::string> Difference(const Json& expected, const Json& got, double tolerance,
                                      const std::string& path);
