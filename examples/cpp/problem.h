// The details of a failed call.
#pragma once

#include <google/protobuf/util/time_util.h>
#include <google/rpc/code.pb.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <optional>
#include <string>

struct Problem {
  // Decide by this. gRPC's own errors have no reason; it is the code's name then.
  std::string reason;
  // Text for people; it may change.
  std::string message;
  // Path of the invalid field; empty if there is none.
  std::string field;
  // When to retry; empty if the server sends no time.
  std::optional<std::chrono::milliseconds> retry_after;
};

inline Problem ProblemOf(const grpc::Status& status) {
  Problem problem;
  problem.reason = google::rpc::Code_Name(static_cast<google::rpc::Code>(status.error_code()));
  problem.message = status.error_message();
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest request;
    google::rpc::RetryInfo retry;
    if (detail.UnpackTo(&info)) {
      problem.reason = info.reason();
    } else if (detail.UnpackTo(&request) && request.field_violations_size() > 0) {
      problem.field = request.field_violations(0).field();
    } else if (detail.UnpackTo(&retry)) {
      problem.retry_after = std::chrono::milliseconds(
          google::protobuf::util::TimeUtil::DurationToMilliseconds(retry.retry_delay()));
    }
  }
  return problem;
}
