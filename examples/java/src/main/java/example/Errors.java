package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;

/** What a failed call says beyond its code. */
final class Errors {
  private Errors() {}

  /**
   * What it failed with, in a word that stays as it is: the server's reason, such as EMPTY_TEXT, or
   * the name of the code when the error is gRPC's own: nobody was there, for example.
   */
  static String reason(Throwable error) {
    return detail(error, ErrorInfo.class)
        .filter(info -> info.getDomain().equals("classwire"))
        .map(ErrorInfo::getReason)
        .orElseGet(() -> Status.fromThrowable(error).getCode().name());
  }

  /** How long to wait before the same call may succeed; empty when it never will. */
  static Optional<Duration> retryAfter(Throwable error) {
    Optional<Duration> asked =
        detail(error, RetryInfo.class)
            .map(RetryInfo::getRetryDelay)
            .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
    boolean isUnavailable = Status.fromThrowable(error).getCode() == Status.Code.UNAVAILABLE;
    return asked.isEmpty() && isUnavailable ? Optional.of(Duration.ZERO) : asked;
  }

  /** For people; it may change. */
  static String message(Throwable error) {
    return Status.fromThrowable(error).getDescription();
  }

  private static <T extends Message> Optional<T> detail(Throwable error, Class<T> type) {
    try {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(type)) {
          return Optional.of(detail.unpack(type));
        }
      }
    } catch (InvalidProtocolBufferException broken) {
      // Without its details it is still an error.
    }
    return Optional.empty();
  }
}
