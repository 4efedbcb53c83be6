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

/** The details of a failed call. */
final class Errors {
  private Errors() {}

  /**
   * Returns a stable word for the error: the server's reason, such as EMPTY_TEXT, or the name of
   * the code for gRPC's own errors, such as UNAVAILABLE.
   */
  static String reason(Throwable error) {
    return detail(error, ErrorInfo.class)
        .filter(info -> info.getDomain().equals("classwire"))
        .map(ErrorInfo::getReason)
        .orElseGet(() -> Status.fromThrowable(error).getCode().name());
  }

  /** Returns the wait before the same call may succeed; empty if it never will. */
  static Optional<Duration> retryAfter(Throwable error) {
    Optional<Duration> asked =
        detail(error, RetryInfo.class)
            .map(RetryInfo::getRetryDelay)
            .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()));
    boolean isUnavailable = Status.fromThrowable(error).getCode() == Status.Code.UNAVAILABLE;
    return asked.isEmpty() && isUnavailable ? Optional.of(Duration.ZERO) : asked;
  }

  /** Text for people; it may change. */
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
      // An error without details is still an error.
    }
    return Optional.empty();
  }
}
