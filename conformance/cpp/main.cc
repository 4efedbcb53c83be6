// Runs all vectors: conformance VECTORS serving=HOST:PORT [faulty=HOST:PORT] [draining=HOST:PORT]

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "comparison.h"
#include "held_streams.h"
#include "methods.h"

namespace {

constexpr int kNothingRan = 2;

// Returns the first difference from the vector's expectations.
std::optional<std::string> Failure(const Channel& channel, const Json& vector,
                                   double tolerance) try {
  const HeldStreams held(channel, vector);
  const Json got = Call(channel, vector);
  const Json& expected = vector["expect"];
  // Always compares the call's status, other parts only if the vector has them.
  for (const std::string part : {"error", "response", "first_response", "results", "order"}) {
    if (part != "error" && !expected.contains(part)) continue;
    const auto path = part == "response" ? "" : part;
    if (auto difference =
            Difference(expected.value(part, Json()), got.value(part, Json()), tolerance, path)) {
      return difference;
    }
  }
  return std::nullopt;
} catch (const std::exception& problem) {
  return problem.what();
}

struct Sum {
  int passed = 0, failed = 0, skipped = 0;

  void operator+=(const Sum& other) {
    passed += other.passed;
    failed += other.failed;
    skipped += other.skipped;
  }
};

std::ostream& operator<<(std::ostream& out, const Sum& sum) {
  out << sum.passed << " passed, " << sum.failed << " failed";
  if (sum.skipped) out << ", " << sum.skipped << " skipped";
  return out;
}

Sum RunGroup(const Json& group, const std::map<std::string, Channel>& servers, double tolerance) {
  const auto server = servers.find(group["server"]);
  const Json& vectors = group["vectors"];
  Sum sum;
  if (server == servers.end()) {
    sum.skipped = static_cast<int>(vectors.size());
    return sum;
  }
  for (const auto& vector : vectors) {
    const auto failure = Failure(server->second, vector, tolerance);
    ++(failure ? sum.failed : sum.passed);
    if (failure) {
      std::cout << "FAIL " << group["name"].get<std::string>() << "/"
                << vector["name"].get<std::string>() << ": " << *failure << std::endl;
    }
  }
  return sum;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "conformance VECTORS serving=HOST:PORT [faulty=HOST:PORT] [draining=HOST:PORT]\n";
    return 1;
  }
  std::ifstream file(argv[1]);
  const Json document = Json::parse(file);
  std::map<std::string, Channel> servers;
  for (const std::string argument : std::vector<char*>(argv + 2, argv + argc)) {
    const auto sign = argument.find('=');
    servers[argument.substr(0, sign)] =
        grpc::CreateChannel(argument.substr(sign + 1), grpc::InsecureChannelCredentials());
  }
  Sum sum, of_group;
  for (const auto& group : document["groups"]) {
    sum += of_group = RunGroup(group, servers, document["tolerance"]);
    std::cout << "group " << group["name"].get<std::string>() << ": " << of_group << std::endl;
  }
  std::cout << sum << std::endl;
  return sum.failed ? 1 : sum.passed ? 0 : kNothingRan;
}
