# frozen_string_literal: true

# How to reach Classwire: with TLS or without, over all servers, and what gRPC tries again.

require "grpc"
require "json"

SERVICE_CONFIG = {
  # With a target such as dns:///classwire.internal:50051, calls take turns over all its addresses.
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      # Not StreamClassify: only its reader knows what is still unanswered, as in stream.rb.
      name: [
        { service: "classwire.v1.ClassifyService", method: "Classify" },
        { service: "classwire.v1.ClassifyService", method: "BatchClassify" },
        { service: "classwire.v1.ClassifyService", method: "Tokenize" },
        { service: "classwire.v1.ModelService" }
      ],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        # Loading, draining, a lost worker, nobody there. A server that is busy is none of these: it
        # says in RetryInfo when to come back.
        retryableStatusCodes: ["UNAVAILABLE"]
      }
    }
  ]
}.freeze

CHANNEL_OPTIONS = {
  "grpc.service_config" => JSON.generate(SERVICE_CONFIG),
  # A connection that died without a word is found within 40 s, which ends its calls as UNAVAILABLE.
  "grpc.keepalive_time_ms" => 30_000,
  "grpc.keepalive_timeout_ms" => 10_000,
  # gRPC's own 1 s to 2 min between attempts to connect is long for a server that restarts.
  "grpc.initial_reconnect_backoff_ms" => 200,
  "grpc.max_reconnect_backoff_ms" => 5_000
}.freeze

# TLS, with the CA that signed the server's certificate; plaintext when no file is named.
def credentials(ca_file)
  ca_file ? GRPC::Core::ChannelCredentials.new(File.read(ca_file)) : :this_channel_is_insecure
end
