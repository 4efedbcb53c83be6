package example;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.classwire.v1.ClassifyServiceGrpc;
import dev.classwire.v1.StreamItem;
import dev.classwire.v1.TextInput;
import io.grpc.ManagedChannel;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Classifies each line of standard input, which may be endless: Stream HOST:PORT [CA.pem]. Prints
 * each line's number, label and score, or its number and the error's reason.
 */
public final class Stream {
  private static final int MOST_FAILURES = 25; // in a row: about half a minute

  public static void main(String[] arguments) throws IOException, InterruptedException {
    if (arguments.length < 1) {
      System.err.println("usage: Stream HOST:PORT [CA.pem]");
      System.exit(2);
    }
    ManagedChannel channel =
        Channels.open(arguments[0], arguments.length > 1 ? arguments[1] : null);
    Backlog backlog = new Backlog();
    Thread reader = new Thread(() -> read(backlog), "reader");
    reader.setDaemon(true);
    reader.start();

    int failures = 0;
    while (backlog.awaitItem()) {
      LineStream stream = new LineStream(backlog);
      try {
        stream.run(ClassifyServiceGrpc.newStub(channel));
      } catch (CompletionException end) {
        // A server that drains or fails ends its streams. The next stream sends the remaining
        // items, to this or another server, after a growing random pause.
        failures = stream.hasAnswered() ? 1 : failures + 1;
        Optional<Duration> delay = Errors.retryAfter(end.getCause());
        if (delay.isEmpty() || failures > MOST_FAILURES) {
          Throwable error = end.getCause();
          System.err.println(Errors.reason(error) + ": " + Errors.message(error));
          System.err.println(backlog.size() + " lines were read, and have no answer");
          System.exit(1);
        }
        int pause = failures * ThreadLocalRandom.current().nextInt(50, 150);
        Thread.sleep(delay.get().toMillis() + pause);
        channel.resetConnectBackoff(); // gRPC's default pauses grow to two minutes
      }
    }
    channel.shutdownNow();
  }

  /** Makes an item of each line, with the line's number as id. */
  private static void read(Backlog backlog) {
    try {
      // Invalid UTF-8 becomes U+FFFD here.
      BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, UTF_8));
      int number = 1;
      for (String text = lines.readLine(); text != null; text = lines.readLine()) {
        backlog.add(
            StreamItem.newBuilder()
                .setId(String.valueOf(number++))
                .setInput(TextInput.newBuilder().setText(text))
                .build());
      }
      backlog.allRead();
    } catch (IOException | InterruptedException error) {
      System.err.println(error);
      System.exit(1);
    }
  }

  private Stream() {}
}
