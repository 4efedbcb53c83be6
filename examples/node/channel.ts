/** Channels to Classwire: with or without TLS, balanced over all servers, with gRPC's retries. */

import { readFileSync } from "node:fs";
import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";

const serviceConfig = {
  // With a target such as dns:///classwire.internal:50051, calls take turns over all its addresses.
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      // Not StreamClassify: only its reader knows which items are unanswered, as in stream.ts.
      name: [
        { service: "classwire.v1.ClassifyService", method: "Classify" },
        { service: "classwire.v1.ClassifyService", method: "BatchClassify" },
        { service: "classwire.v1.ClassifyService", method: "Tokenize" },
        { service: "classwire.v1.ClassifyService", method: "Rank" },
        { service: "classwire.v1.ClassifyService", method: "ZeroShotClassify" },
        { service: "classwire.v1.ModelService" },
      ],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        // Loading, draining, a lost worker or no server. A busy server returns RESOURCE_EXHAUSTED
        // instead, with a retry time in RetryInfo.
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};

export const channelOptions: ChannelOptions = {
  "grpc.service_config": JSON.stringify(serviceConfig),
  // Detects a dead connection within 40 s and ends its calls with UNAVAILABLE.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // Reconnects to a restarted server within 5 s; gRPC's default is up to 2 minutes.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

/** TLS with the CA that signed the server's certificate; plaintext without a file. */
export function channelCredentials(caFile?: string): ChannelCredentials {
  return caFile ? credentials.createSsl(readFileSync(caFile)) : credentials.createInsecure();
}
