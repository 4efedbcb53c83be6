// The methods of the contract, each called by its generated stub.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "json.h"

using Channel = std::shared_ptr<grpc::Channel>;

// Makes the vector's call, which ends by its deadline, and returns the results in the form of a
// vector's `expect`. Throws the errors of nlohmann::json and protobuf for an invalid vector.
Json Call(const Channel& channel, const Json& vector);
