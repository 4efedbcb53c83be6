package example;

import com.google.protobuf.Duration;
import dev.classwire.v1.ClassifyServiceGrpc.ClassifyServiceStub;
import dev.classwire.v1.ItemError;
import dev.classwire.v1.LabelScore;
import dev.classwire.v1.StreamClassifyRequest;
import dev.classwire.v1.StreamClassifyResponse;
import dev.classwire.v1.StreamConfig;
import dev.classwire.v1.StreamItem;
import dev.classwire.v1.StreamItems;
import dev.classwire.v1.StreamResult;
import dev.classwire.v1.StreamStarted;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** One stream: sends items of the backlog and prints results. */
final class LineStream implements StreamObserver<StreamClassifyResponse> {
  /** From the time when the server reads an item to its answer. */
  private static final Duration ITEM_TIMEOUT = Duration.newBuilder().setSeconds(60).build();

  private final Backlog backlog;
  private final CompletableFuture<StreamStarted> started = new CompletableFuture<>();
  private final CompletableFuture<Void> ended = new CompletableFuture<>();
  private volatile boolean hasAnswered;

  LineStream(Backlog backlog) {
    this.backlog = backlog;
  }

  boolean hasAnswered() {
    return hasAnswered;
  }

  /** Returns when all items are answered; throws CompletionException if the stream ends before. */
  void run(ClassifyServiceStub service) throws InterruptedException {
    StreamObserver<StreamClassifyRequest> requests = service.streamClassify(this);
    try {
      StreamConfig config = StreamConfig.newBuilder().setItemTimeout(ITEM_TIMEOUT).build();
      requests.onNext(StreamClassifyRequest.newBuilder().setConfig(config).build());
      int window = started.join().getWindowItems();
      int most = Math.min(window, started.join().getMaxItemsPerMessage());
      List<StreamItem> items = backlog.take(window, most);
      while (!items.isEmpty()) {
        // onNext does not wait for the network; the window limits its buffer.
        StreamItems message = StreamItems.newBuilder().addAllItems(items).build();
        requests.onNext(StreamClassifyRequest.newBuilder().setItems(message).build());
        items = backlog.take(window, most);
      }
      requests.onCompleted();
      ended.join();
    } catch (CompletionException error) {
      requests.onError(error.getCause()); // the server can stop too
      throw error;
    }
  }

  @Override
  public void onNext(StreamClassifyResponse response) {
    if (response.hasStarted()) {
      started.complete(response.getStarted());
    }
    for (StreamResult result : response.getResults().getResultsList()) {
      ItemError error = result.getOutcome().getError();
      if (error.getCode() == Status.Code.UNAVAILABLE.value()) { // another server can answer it
        end(Status.UNAVAILABLE.withDescription(error.getReason()).asRuntimeException());
      }
      if (ended.isDone()) {
        return;
      }
      print(result);
      backlog.answered(result.getId());
      hasAnswered = true;
    }
  }

  @Override
  public void onError(Throwable error) {
    end(error);
  }

  @Override
  public void onCompleted() {
    end(null);
  }

  /** Only the first end counts. Called by gRPC's threads, one at a time. */
  private void end(Throwable error) {
    if (ended.isDone()) {
      return;
    }
    backlog.streamEnded();
    if (error == null) {
      ended.complete(null);
    } else {
      ended.completeExceptionally(error);
      started.completeExceptionally(error);
    }
  }

  private static void print(StreamResult result) {
    if (result.getOutcome().hasError()) {
      System.out.println(result.getId() + "\t" + result.getOutcome().getError().getReason());
    } else {
      LabelScore best = result.getOutcome().getClassification().getScores(0);
      System.out.printf(
          Locale.ROOT, "%s\t%s\t%.4f%n", result.getId(), best.getLabel(), best.getScore());
    }
  }
}
