// A status as vectors write it.
#pragma once

#include <grpcpp/support/status.h>

#include "json.h"

// What is not there has no key; a domain is only there when it is not ours.
Json ToJson(const grpc::Status& status);
