#include "failure.h"

#include <google/rpc/code.pb.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

Json ToJson(const grpc::Status& status) {
  const auto code = static_cast<google::rpc::Code>(status.error_code());
  Json json = {{"code", google::rpc::Code_Name(code)}};
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest request;
    if (detail.UnpackTo(&info)) {
      json["reason"] = info.reason();
      if (info.domain() != "classwire") json["domain"] = info.domain();
      for (const auto& [key, value] : info.metadata()) json["metadata"][key] = value;
    } else if (detail.UnpackTo(&request)) {
      json["field"] = request.field_violations_size() ? request.field_violations(0).field() : "";
    } else if (detail.Is<google::rpc::RetryInfo>()) {
      json["retry"] = true;
    }
  }
  return json;
}
