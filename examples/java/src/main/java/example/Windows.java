package example;

import dev.classwire.v1.Classification;
import dev.classwire.v1.ClassifyOptions;
import dev.classwire.v1.ClassifyRequest;
import dev.classwire.v1.ClassifyServiceGrpc;
import dev.classwire.v1.LabelScore;
import dev.classwire.v1.OffsetUnit;
import dev.classwire.v1.TextInput;
import dev.classwire.v1.TextWindow;
import dev.classwire.v1.Truncation;
import dev.classwire.v1.WindowOptions;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.PrintStream;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/**
 * Reads a long text in windows: Windows HOST:PORT TEXT [CA.pem]. Prints label and score of the whole
 * text, then of each window, with the part that it reads.
 */
public final class Windows {
  public static void main(String[] arguments) throws IOException {
    if (arguments.length < 2) {
      System.err.println("usage: Windows HOST:PORT TEXT [CA.pem]");
      System.exit(2);
    }
    String text = arguments[1];
    ManagedChannel channel =
        Channels.open(arguments[0], arguments.length > 2 ? arguments[2] : null);
    ClassifyOptions.Builder options =
        ClassifyOptions.newBuilder()
            .setTruncation(Truncation.TRUNCATION_WINDOWS)
            // Small windows tell where a label rises; by default they have the model's max_tokens.
            .setWindows(WindowOptions.newBuilder().setWindowTokens(24))
            .setIncludeWindows(true)
            .setOffsetUnit(OffsetUnit.OFFSET_UNIT_UTF16); // for substring
    ClassifyRequest request =
        ClassifyRequest.newBuilder()
            .setInput(TextInput.newBuilder().setText(text))
            .setOptions(options)
            .build();
    try {
      print(
          text,
          ClassifyServiceGrpc.newBlockingStub(channel)
              .withDeadlineAfter(5, TimeUnit.SECONDS)
              .classify(request)
              .getResult());
    } catch (StatusRuntimeException error) {
      System.err.println(Errors.reason(error) + ": " + Errors.message(error));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  private static void print(String text, Classification result) {
    PrintStream out = System.out;
    LabelScore best = result.getScores(0); // highest first
    out.printf(Locale.ROOT, "%s\t%.4f%n", best.getLabel(), best.getScore());
    Map<Integer, String> labels =
        result.getScoresList().stream()
            .collect(Collectors.toMap(LabelScore::getLabelId, LabelScore::getLabel));
    for (TextWindow window : result.getWindowsList()) {
      List<Float> scores = window.getScoresList();
      float score = Collections.max(scores);
      String label = labels.get(scores.indexOf(score));
      String part = text.substring(window.getStart(), window.getEnd());
      out.printf(Locale.ROOT, "%s\t%.4f\t%s%n", label, score, part);
    }
  }

  private Windows() {}
}
