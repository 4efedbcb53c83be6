# frozen_string_literal: true

# Channels to Classwire: with or without TLS, balanced over all servers, with gRPC's retries.

require "grpc"
require "json"

SERVICE_CONFIG = {
  # With a target such as dns:///classwire.internal:50051, calls take turns over all its addresses.
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      # Not StreamClassify: only its reader knows which items are unanswered, as in stream.rb.
      name: [
        { service: "classwire.v1.ClassifyService", method: "Classify" },
        { service: "classwire.v1.ClassifyService", method: "BatchClassify" },
        { service: "classwire.v1.ClassifyService", method: "Tokenize" },
        { service: "classwire.v1.ClassifyService", method: "Rank" },
        { service: "classwire.v1.ClassifyService", method: "ZeroShotClassify" },
        { service: "classwire.v1.ModelService" }
      ],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        # Loading, draining, a lost worker or no server. A busy server returns RESOURCE_EXHAUSTED
        # instead, with a retry time in RetryInfo.
        retryableStatusCodes: ["UNAVAILABLE"]
      }
    }
  ]
}.freeze

CHANNEL_OPTIONS = {
  "grpc.service_config" => JSON.generate(SERVICE_CONFIG),
  # Detects a dead connection within 40 s and ends its calls with UNAVAILABLE.
  "grpc.keepalive_time_ms" => 30_000,
  "grpc.keepalive_timeout_ms" => 10_000,
  # gRPC's default pauses between connection attempts, 1 s to 2 min, are too long for a restart.
  "grpc.initial_reconnect_backoff_ms" => 200,
  "grpc.max_reconnect_backoff_ms" => 5_000
}.freeze

# TLS with the CA that signed the server's certificate; plaintext without a file.
def credentials(ca_file)
  ca_file ? GRPC::Core::ChannelCredentials.new(File.read(ca_file)) : :this_channel_is_insecure
end
