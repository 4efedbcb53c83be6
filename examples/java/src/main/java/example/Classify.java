package example;

import dev.classwire.v1.ClassifyRequest;
import dev.classwire.v1.ClassifyResponse;
import dev.classwire.v1.ClassifyServiceGrpc;
import dev.classwire.v1.LabelScore;
import dev.classwire.v1.TextInput;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** Prints the label of a text and its score: Classify HOST:PORT TEXT [CA.pem] */
public final class Classify {
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 2) {
      System.err.println("usage: Classify HOST:PORT TEXT [CA.pem]");
      System.exit(2);
    }
    String caFile = arguments.length > 2 ? arguments[2] : null;
    ManagedChannel channel = Channels.open(arguments[0], caFile);
    ClassifyRequest request =
        ClassifyRequest.newBuilder()
            .setInput(TextInput.newBuilder().setText(arguments[1]))
            .build();
    try {
      ClassifyResponse response =
          ClassifyServiceGrpc.newBlockingStub(channel)
              // The server rejects a call at once if it can't answer by this deadline.
              .withDeadlineAfter(5, TimeUnit.SECONDS)
              .classify(request);
      LabelScore best = response.getResult().getScores(0); // highest first
      System.out.printf(Locale.ROOT, "%s %.4f%n", best.getLabel(), best.getScore());
    } catch (StatusRuntimeException error) {
      System.err.println(Errors.reason(error) + ": " + Errors.message(error));
      System.err.println(advice(error));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  /** Returns what a program should do about an error. */
  private static String advice(StatusRuntimeException error) {
    Optional<Duration> retryAfter = Errors.retryAfter(error);
    return switch (Errors.reason(error)) {
      case "EMPTY_TEXT", "TEXT_TOO_LARGE" -> "Send another text.";
      case "TOO_MANY_TOKENS" ->
          "Set options.truncation: windows read all of it, DROP_END drops its end.";
      case "OVERLOADED" -> {
        long millis = retryAfter.orElse(Duration.ZERO).toMillis();
        yield "Retry in " + millis + " ms, or allow more time.";
      }
      case "DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE" -> "Allow more time.";
      case "POISON_INPUT" -> "Do not retry. Tell the operator.";
      case "UNAVAILABLE" ->
          "No server answers at this address, or only one side uses TLS, or the CA is wrong.";
      default ->
          retryAfter.isPresent()
              ? "gRPC has tried five times; retry later."
              : "The same call would fail again.";
    };
  }
}
