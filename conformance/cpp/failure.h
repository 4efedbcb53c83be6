// A status in the form of vectors.
#pragma once

#include <grpcpp/support/status.h>

#include "json.h"

// Absent values have no key; the domain has one only if it is not Classwire's.
Json ToJson(const grpc::Status& status);
