package conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** Compares JSON. A difference is `path: expected this, got that`; null means none. */
record Comparison(double tolerance) {
  /** Keys that may differ between servers or calls, at any depth. */
  private static final Set<String> IGNORED = Set.of("timing", "deviation", "message", "version");

  private static final List<String> PARTS =
      List.of("response", "first_response", "results", "order");

  /** Returns an answer's first difference; compares the status always, other parts if expected. */
  String ofAnswer(JsonObject expected, JsonObject got) {
    String found = of("error", expected.get("error"), got.get("error"));
    for (String part : PARTS) {
      if (found == null && expected.has(part)) {
        found = of(part.equals("response") ? "" : part, expected.get(part), got.get(part));
      }
    }
    return found;
  }

  private String of(String path, JsonElement expected, JsonElement got) {
    if (expected == null || got == null || expected.getClass() != got.getClass()) {
      return expected == got ? null : difference(path, expected, got);
    }
    if (expected.isJsonObject()) {
      return ofObjects(path, expected.getAsJsonObject(), got.getAsJsonObject());
    }
    if (expected.isJsonArray() && expected.getAsJsonArray().size() == got.getAsJsonArray().size()) {
      String found = null;
      for (int i = 0; i < expected.getAsJsonArray().size() && found == null; i++) {
        String at = path + "[" + i + "]";
        found = of(at, expected.getAsJsonArray().get(i), got.getAsJsonArray().get(i));
      }
      return found;
    }
    return expected.equals(got) || areNear(expected, got) ? null : difference(path, expected, got);
  }

  private String ofObjects(String path, JsonObject expected, JsonObject got) {
    Set<String> keys = new TreeSet<>(expected.keySet());
    keys.addAll(got.keySet());
    keys.removeAll(IGNORED);
    for (String key : keys) {
      JsonElement wanted = expected.get(key);
      JsonElement value = got.get(key);
      boolean isAny = key.equals("retryAfter") || path.endsWith("metadata") && isStar(wanted);
      String found =
          isAny && wanted != null && value != null
              ? null
              : of(path.isEmpty() ? key : path + "." + key, wanted, value);
      if (found != null) {
        return found;
      }
    }
    return null;
  }

  private boolean areNear(JsonElement expected, JsonElement got) {
    return isNumber(expected)
        && isNumber(got)
        && Math.abs(expected.getAsDouble() - got.getAsDouble()) <= tolerance;
  }

  private static boolean isNumber(JsonElement value) {
    return value.isJsonPrimitive() && value.getAsJsonPrimitive().isNumber();
  }

  private static boolean isStar(JsonElement value) {
    return value != null && value.isJsonPrimitive() && value.getAsString().equals("*");
  }

  private static String difference(String path, JsonElement expected, JsonElement got) {
    return path + ": expected " + shown(expected) + ", got " + shown(got);
  }

  private static String shown(JsonElement value) {
    return value == null ? "nothing" : value.toString();
  }
}
