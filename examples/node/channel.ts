/** How to reach Classwire: with TLS or without, over all servers, and what gRPC tries again. */

import { readFileSync } from "node:fs";
import { type ChannelCredentials, type ChannelOptions, credentials } from "@grpc/grpc-js";

const serviceConfig = {
  // With a target such as dns:///classwire.internal:50051, calls take turns over all its addresses.
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      // Not StreamClassify: only its reader knows what is still unanswered, as in stream.ts.
      name: [
        { service: "classwire.v1.ClassifyService", method: "Classify" },
        { service: "classwire.v1.ClassifyService", method: "BatchClassify" },
        { service: "classwire.v1.ClassifyService", method: "Tokenize" },
        { service: "classwire.v1.ModelService" },
      ],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "2s",
        backoffMultiplier: 2,
        // Loading, draining, a lost worker, nobody there. A server that is busy is none of these:
        // it says in RetryInfo when to come back.
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};

export const channelOptions: ChannelOptions = {
  "grpc.service_config": JSON.stringify(serviceConfig),
  // A connection that died without a word is found within 40 s, which ends its calls as UNAVAILABLE.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // A server that comes back is found within 5 s; gRPC by itself would wait for up to 2 minutes.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
};

/** TLS, with the CA that signed the server's certificate; plaintext when no file is named. */
export function channelCredentials(caFile?: string): ChannelCredentials {
  return caFile ? credentials.createSsl(readFileSync(caFile)) : credentials.createInsecure();
}
