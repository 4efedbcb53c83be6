// The methods of the contract, each called by its generated stub.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "json.h"

using Channel = std::shared_ptr<grpc::Channel>;

// Makes the vector's call, which ends by its deadline, and tells what came back in the form of a
// vector's `expect`. Throws what nlohmann::json and protobuf think of a vector that is none.
Json Call(const Channel& channel, const Json& vector);
