package conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.MessageOrBuilder;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.classwire.v1.StreamClassifyResponse;
import dev.classwire.v1.StreamResult;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;

/** A call's results, as JSON in the form of a vector's `expect`. */
final class Answer {
  private static final JsonFormat.Printer PRINTER =
      JsonFormat.printer().omittingInsignificantWhitespace();

  private final JsonObject json = new JsonObject();
  private final JsonObject results = new JsonObject();
  private final JsonArray order = new JsonArray();

  Answer() {
    json.add("results", results);
    json.add("order", order);
  }

  JsonObject json() {
    return json;
  }

  /** Adds a message. Stores a second result for an id under a name that no vector has. */
  void add(Message message) {
    if (!json.has("response")) {
      json.add("response", jsonOf(message));
      json.add("first_response", json.get("response"));
    }
    if (message instanceof StreamClassifyResponse response) {
      for (StreamResult result : response.getResults().getResultsList()) {
        String again = results.has(result.getId()) ? " (again)" : "";
        results.add(result.getId() + again, jsonOf(result.getOutcome()));
        order.add(result.getId());
      }
    }
  }

  /** Adds the status that ended the call. */
  void end(Status status, Metadata trailers) {
    if (status.isOk()) {
      return;
    }
    JsonObject error = new JsonObject();
    error.addProperty("code", status.getCode().name());
    try {
      for (Any detail : StatusProto.fromStatusAndTrailers(status, trailers).getDetailsList()) {
        addDetail(error, detail);
      }
    } catch (InvalidProtocolBufferException broken) {
      error.addProperty("details", broken.getMessage());
    }
    json.add("error", error);
  }

  private static void addDetail(JsonObject error, Any detail)
      throws InvalidProtocolBufferException {
    if (detail.is(ErrorInfo.class)) {
      ErrorInfo info = detail.unpack(ErrorInfo.class);
      error.addProperty("reason", info.getReason());
      if (!info.getDomain().equals("classwire")) {
        error.addProperty("domain", info.getDomain());
      }
      if (info.getMetadataCount() > 0) {
        JsonObject metadata = new JsonObject();
        info.getMetadataMap().forEach(metadata::addProperty);
        error.add("metadata", metadata);
      }
    } else if (detail.is(BadRequest.class)) {
      BadRequest request = detail.unpack(BadRequest.class);
      boolean isThere = request.getFieldViolationsCount() > 0;
      error.addProperty("field", isThere ? request.getFieldViolations(0).getField() : "");
    } else if (detail.is(RetryInfo.class)) {
      error.addProperty("retry", true);
    }
  }

  private static JsonElement jsonOf(MessageOrBuilder message) {
    try {
      return JsonParser.parseString(PRINTER.print(message));
    } catch (InvalidProtocolBufferException broken) {
      return new JsonPrimitive(broken.getMessage());
    }
  }
}
