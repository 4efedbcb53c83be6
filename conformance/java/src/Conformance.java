package conformance;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Runs the vectors against servers and reports failures. */
public final class Conformance {
  private static final int NOTHING_RAN = 2;

  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 1) {
      System.err.println("usage: Conformance VECTORS SERVER=HOST:PORT ...");
      System.exit(1);
    }
    Vectors vectors = Vectors.read(Path.of(arguments[0]));
    Map<String, Channel> servers = new HashMap<>();
    for (String argument : Arrays.asList(arguments).subList(1, arguments.length)) {
      String[] parts = argument.split("=", 2);
      servers.put(parts[0], connect(parts[1]));
    }
    Tally sum = new Tally(0, 0, 0);
    for (Vectors.Group group : vectors.groups()) {
      Tally got = run(group, servers.get(group.server()), new Comparison(vectors.tolerance()));
      System.out.println("group " + group.name() + ": " + got);
      sum = sum.plus(got);
    }
    System.out.println(sum);
    System.exit(sum.failed() > 0 ? 1 : sum.passed() > 0 ? 0 : NOTHING_RAN);
  }

  /** Waits until the server is reachable, so that the first vectors' deadlines do not pass. */
  private static Channel connect(String address) {
    Channel channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
    HealthGrpc.newBlockingStub(channel)
        .withWaitForReady()
        .withDeadlineAfter(10, TimeUnit.SECONDS)
        .check(HealthCheckRequest.getDefaultInstance());
    return channel;
  }

  private static Tally run(Vectors.Group group, Channel server, Comparison comparison) {
    if (server == null) {
      return new Tally(0, 0, group.vectors().size());
    }
    int failed = 0;
    for (Vectors.Vector vector : group.vectors()) {
      String difference = difference(vector, server, comparison);
      if (difference != null) {
        failed++;
        System.out.println("FAIL " + group.name() + "/" + vector.name() + ": " + difference);
      }
    }
    return new Tally(group.vectors().size() - failed, failed, 0);
  }

  /** Returns the first difference from the vector's expectations; null if there is none. */
  private static String difference(Vectors.Vector vector, Channel server, Comparison comparison) {
    try (HeldStreams held = new HeldStreams(vector, server)) {
      return comparison.ofAnswer(vector.expect(), Call.make(vector, server).json());
    } catch (InvalidProtocolBufferException error) {
      return "request: " + error.getMessage();
    }
  }

  private record Tally(int passed, int failed, int skipped) {
    Tally plus(Tally other) {
      return new Tally(passed + other.passed, failed + other.failed, skipped + other.skipped);
    }

    @Override
    public String toString() {
      String text = passed + " passed, " + failed + " failed";
      return skipped == 0 ? text : text + ", " + skipped + " skipped";
    }
  }
}
