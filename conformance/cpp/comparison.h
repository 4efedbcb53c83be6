// What is the same, by the rules of the kit.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

using Json = nlohmann::json;

// Where, and how, what came first differs from what is expected; nothing where it is the same. Both
// may be null, which stands for what is not there.
std::optional<std::string> Difference(const Json& expected, const Json& got, double tolerance,
                                      const std::string& path);
