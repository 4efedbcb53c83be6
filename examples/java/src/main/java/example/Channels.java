package example;

import static java.util.concurrent.TimeUnit.SECONDS;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.Map;

/** Channels to Classwire. */
final class Channels {
  private static final String CLASSIFY_SERVICE = "classwire.v1.ClassifyService";

  /** gRPC requires doubles for numbers here, as from JSON. */
  private static final Map<String, ?> SERVICE_CONFIG =
      Map.of(
          "loadBalancingConfig", List.of(Map.of("round_robin", Map.of())),
          "methodConfig",
              List.of(
                  Map.of(
                      // Not StreamClassify: only the caller knows which items are unanswered.
                      "name",
                          List.of(
                              Map.of("service", CLASSIFY_SERVICE, "method", "Classify"),
                              Map.of("service", CLASSIFY_SERVICE, "method", "BatchClassify"),
                              Map.of("service", CLASSIFY_SERVICE, "method", "Tokenize"),
                              Map.of("service", CLASSIFY_SERVICE, "method", "Rank"),
                              Map.of("service", CLASSIFY_SERVICE, "method", "ZeroShotClassify"),
                              Map.of("service", "classwire.v1.ModelService")),
                      "retryPolicy",
                          Map.of(
                              "maxAttempts", 5.0,
                              "initialBackoff", "0.1s",
                              "maxBackoff", "2s",
                              "backoffMultiplier", 2.0,
                              "retryableStatusCodes", List.of("UNAVAILABLE")))));

  private Channels() {}

  /**
   * Returns a channel for all threads of a program. It sends calls in turn to the addresses of the
   * name HOST. With a CA's file it uses TLS.
   */
  static ManagedChannel open(String address, String caFile) throws IOException {
    ChannelCredentials credentials =
        caFile == null
            ? InsecureChannelCredentials.create()
            : TlsChannelCredentials.newBuilder().trustManager(new File(caFile)).build();
    return Grpc.newChannelBuilder("dns:///" + address, credentials)
        .defaultServiceConfig(SERVICE_CONFIG)
        // Detects a dead connection within 40 s.
        .keepAliveTime(30, SECONDS)
        .keepAliveTimeout(10, SECONDS)
        .keepAliveWithoutCalls(true)
        .build();
  }
}
