package conformance;

import static io.grpc.Metadata.ASCII_STRING_MARSHALLER;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.Base64;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A call of any kind. It ends by its deadline, whatever the server does. */
final class Call extends ClientCall.Listener<Message> {
  private final Method method;
  private final ClientCall<byte[], Message> call;
  private final Answer answer = new Answer();
  private final CompletableFuture<Void> first = new CompletableFuture<>();
  private final CompletableFuture<Answer> ended = new CompletableFuture<>();

  private Call(Method method, ClientCall<byte[], Message> call) {
    this.method = method;
    this.call = call;
  }

  /** Starts a vector's call without sending a message. */
  static Call start(Vectors.Vector vector, Channel channel, long timeoutNanos) {
    CallOptions options =
        CallOptions.DEFAULT
            .withDeadlineAfter(timeoutNanos, TimeUnit.NANOSECONDS)
            .withCompression(vector.compression());
    Method method = Method.named(vector.rpc());
    Call call = new Call(method, channel.newCall(method.descriptor(), options));
    Metadata headers = new Metadata();
    vector
        .allHeaders()
        .forEach((key, value) -> headers.put(Metadata.Key.of(key, ASCII_STRING_MARSHALLER), value));
    call.call.start(call, headers);
    call.call.request(1);
    return call;
  }

  /** Makes a vector's call and returns its results. */
  static Answer make(Vectors.Vector vector, Channel channel)
      throws InvalidProtocolBufferException {
    Call call = start(vector, channel, vector.timeoutNanos());
    for (Vectors.Request request : vector.allRequests()) {
      call.send(request);
    }
    call.call.halfClose();
    // gRPC holds back further responses and the status while only one response is requested.
    if ("after_first_response".equals(vector.cancel())) {
      call.awaitFirst();
    }
    if (vector.cancel() != null) {
      call.cancel();
    }
    return call.awaitEnd();
  }

  void send(Vectors.Request request) throws InvalidProtocolBufferException {
    if (request.bytes() != null) {
      call.sendMessage(Base64.getDecoder().decode(request.bytes()));
      return;
    }
    Message.Builder message = method.request().newBuilderForType();
    JsonFormat.parser().merge(request.message().toString(), message);
    call.sendMessage(message.build().toByteArray());
  }

  /** Waits for the first response or the end of the call. */
  void awaitFirst() {
    first.join();
  }

  void cancel() {
    call.cancel("the vector requires it", null);
  }

  /** Waits for the end of the call, which comes by its deadline. */
  Answer awaitEnd() {
    call.request(Integer.MAX_VALUE);
    return ended.join();
  }

  @Override
  public void onMessage(Message message) {
    answer.add(message);
    first.complete(null);
  }

  @Override
  public void onClose(Status status, Metadata trailers) {
    answer.end(status, trailers);
    first.complete(null);
    ended.complete(answer);
  }
}
