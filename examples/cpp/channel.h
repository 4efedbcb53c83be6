// How to reach Classwire: with TLS or without, over all servers, and what gRPC tries again.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>

// With a target such as dns:///classwire.internal:50051, calls take turns over all its addresses.
// Not StreamClassify: only its reader knows what is still unanswered, as in stream.cc.
// UNAVAILABLE is loading, draining, a lost worker, nobody there. A server that is busy is none of
// these: it says in RetryInfo when to come back.
inline constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [
      {"service": "classwire.v1.ClassifyService", "method": "Classify"},
      {"service": "classwire.v1.ClassifyService", "method": "BatchClassify"},
      {"service": "classwire.v1.ClassifyService", "method": "Tokenize"},
      {"service": "classwire.v1.ModelService"}
    ],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.1s",
      "maxBackoff": "2s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
})";

// TLS, with the CA that signed the server's certificate; plaintext when no file is named.
inline std::shared_ptr<grpc::ChannelCredentials> Credentials(const std::string& ca_file) {
  if (ca_file.empty()) return grpc::InsecureChannelCredentials();
  std::ifstream file(ca_file);
  grpc::SslCredentialsOptions options;
  options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  return grpc::SslCredentials(options);
}

// One channel serves a whole program, all of its threads.
inline std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target,
                                                  const std::string& ca_file) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  // A connection that died without a word is found within 40 s, which ends its calls as
  // UNAVAILABLE.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // gRPC's own 1 s to 2 min between attempts to connect is long for a server that restarts.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return grpc::CreateCustomChannel(target, Credentials(ca_file), arguments);
}
