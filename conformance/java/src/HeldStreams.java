package conformance;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Channel;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Streams that stay open during a vector's call. close() ends them. */
final class HeldStreams implements AutoCloseable {
  private static final long TIME_TO_HOLD = TimeUnit.SECONDS.toNanos(30);

  private final List<Call> calls = new ArrayList<>();

  /** Opens the streams with the vector's first request and waits until they have started. */
  HeldStreams(Vectors.Vector vector, Channel channel) throws InvalidProtocolBufferException {
    for (int count = 0; count < vector.heldStreams(); count++) {
      Call call = Call.start(vector, channel, vector.timeoutNanos() + TIME_TO_HOLD);
      calls.add(call);
      call.send(vector.requests().get(0));
      call.awaitFirst();
    }
  }

  @Override
  public void close() {
    calls.forEach(Call::cancel);
    calls.forEach(Call::awaitEnd);
  }
}
