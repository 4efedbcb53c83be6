package conformance;

import com.google.gson.FieldNamingPolicy;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** The content of vectors.json; conformance/README.md explains the keys. */
record Vectors(double tolerance, List<Group> groups) {
  private static final Gson GSON =
      new GsonBuilder()
          .setFieldNamingPolicy(FieldNamingPolicy.LOWER_CASE_WITH_UNDERSCORES)
          .create();

  static Vectors read(Path path) throws IOException {
    return GSON.fromJson(Files.readString(path), Vectors.class);
  }

  record Group(String name, String server, List<Vector> vectors) {}

  record Vector(
      String name,
      String rpc,
      JsonObject request,
      String requestBytes,
      List<Request> requests,
      Double timeoutS,
      String cancel,
      int heldStreams,
      Map<String, String> headers,
      String compression,
      JsonObject expect) {

    /** Returns all messages of the vector, one or a stream. */
    List<Request> allRequests() {
      return requests != null ? requests : List.of(new Request(request, requestBytes));
    }

    Map<String, String> allHeaders() {
      return headers != null ? headers : Map.of();
    }

    long timeoutNanos() {
      return (long) ((timeoutS == null ? 30 : timeoutS) * 1e9);
    }
  }

  /** A message in protobuf's JSON mapping, or as raw bytes (base64). */
  record Request(JsonObject message, String bytes) {}
}
