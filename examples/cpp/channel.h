// Channels to Classwire: with or without TLS, balanced over all servers, with gRPC's retries.
#pragma once

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>

// With a target such as dns:///classwire.internal:50051, calls take turns over all its addresses.
// Not StreamClassify: only its reader knows which items are unanswered, as in stream.cc.
// UNAVAILABLE means loading, draining, a lost worker or no server. A busy server returns
// RESOURCE_EXHAUSTED instead, with a retry time in RetryInfo.
inline constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [
      {"service": "classwire.v1.ClassifyService", "method": "Classify"},
      {"service": "classwire.v1.ClassifyService", "method": "BatchClassify"},
      {"service": "classwire.v1.ClassifyService", "method": "Tokenize"},
      {"service": "classwire.v1.ClassifyService", "method": "Rank"},
      {"service": "classwire.v1.ClassifyService", "method": "ZeroShotClassify"},
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

// TLS with the CA that signed the server's certificate; plaintext without a file.
inline std::shared_ptr<grpc::ChannelCredentials> Credentials(const std::string& ca_file) {
  if (ca_file.empty()) return grpc::InsecureChannelCredentials();
  std::ifstream file(ca_file);
  grpc::SslCredentialsOptions options;
  options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  return grpc::SslCredentials(options);
}

// One channel serves all threads of a program.
inline std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target,
                                                  const std::string& ca_file) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  // Detects a dead connection within 40 s and ends its calls with UNAVAILABLE.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // gRPC's default pauses between connection attempts, 1 s to 2 min, are too long for a restart.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return grpc::CreateCustomChannel(target, Credentials(ca_file), arguments);
}
