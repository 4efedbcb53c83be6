// A message in protobuf's JSON mapping, or as bytes.
#pragma once

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/wrappers.pb.h>
#include <grpcpp/support/byte_buffer.h>

#include <stdexcept>
#include <string>

#include "comparison.h"

template <class Message>
Message FromJson(const Json& json) {
  Message message;
  const auto status = google::protobuf::util::JsonStringToMessage(json.dump(), &message);
  if (!status.ok()) throw std::invalid_argument(status.ToString());
  return message;
}

// Omits fields with default values.
inline Json ToJson(const google::protobuf::Message& message) {
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return Json::parse(json);
}

inline grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// Protobuf's mapping writes bytes as base64.
inline grpc::ByteBuffer FromBase64(const Json& text) {
  return ToBuffer(FromJson<google::protobuf::BytesValue>(text).value());
}
