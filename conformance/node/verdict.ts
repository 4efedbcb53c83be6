/** Compares an answer with a vector's expectations. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { difference } from "./comparison.js";
import type { Answer } from "./exchange.js";
import { errorOf } from "./status.js";
import type { Expectation } from "./vectors.js";

/** Returns the answer's first difference, or undefined if there is none. */
export function failure(
  expect: Expectation,
  { responses, status }: Answer,
  tolerance: number,
): string | undefined {
  const { error, response, first_response, results, order } = expect;
  const outcomes = responses.flatMap(outcomesOf);
  const ids = outcomes.map(([id]) => id);

  const found = [difference(error && ofClasswire(error), errorOf(status), tolerance, "error")];
  if (response !== undefined) found.push(difference(response, responses[0], tolerance));
  if (first_response !== undefined) {
    found.push(difference(first_response, responses[0], tolerance, "first_response"));
  }
  if (results) {
    found.push(difference(Object.keys(results).sort(), [...ids].sort(), tolerance, "ids"));
    found.push(difference(results, Object.fromEntries(outcomes), tolerance, "results"));
  }
  if (order) found.push(difference(order, ids, tolerance, "order"));
  return found.find((each) => each !== undefined);
}

/** An error with a reason has Classwire's domain and metadata, possibly empty. */
function ofClasswire(error: NonNullable<Expectation["error"]>): JsonObject {
  return error.reason === undefined ? error : { domain: "classwire", metadata: {}, ...error };
}

/** Returns the ids and outcomes of a stream's response. */
function outcomesOf(response: JsonObject): [string, JsonValue][] {
  const message = response as { results?: { results?: { id: string; outcome: JsonValue }[] } };
  return (message.results?.results ?? []).map(({ id, outcome }) => [id, outcome]);
}
