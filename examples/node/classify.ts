/** Classifies one text: node dist/classify.js HOST:PORT TEXT [CA.pem] */

import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { channelCredentials, channelOptions } from "./channel.js";
import { problemOf } from "./errors.js";
import {
  ClassifyRequest,
  type ClassifyResponse,
  ClassifyServiceClient,
} from "./generated/classwire/v1/classwire.js";

const [target = "", text = "", caFile] = process.argv.slice(2);
const client = new ClassifyServiceClient(target, channelCredentials(caFile), channelOptions);

function classify(text: string): Promise<ClassifyResponse> {
  const request = ClassifyRequest.fromPartial({ input: { text } });
  // The server knows the deadline and rejects at once a call that it can't answer by then.
  const options = { deadline: Date.now() + 10_000 };
  return new Promise((resolve, reject) =>
    client.classify(request, new Metadata(), options, (error, response) =>
      error ? reject(error) : resolve(response),
    ),
  );
}

try {
  const { result } = await classify(text);
  const [best] = result?.scores ?? [];
  if (best) console.log(best.label, best.score.toFixed(4));
} catch (error) {
  const problem = problemOf(error as ServiceError);
  switch (problem.reason) {
    case "EMPTY_TEXT":
    case "TEXT_TOO_LARGE":
      console.error(`${problem.reason}: send another ${problem.field}`);
      break;
    case "TOO_MANY_TOKENS":
      console.error("Set options.truncation: windows read all of it, DROP_END drops its end.");
      break;
    case "OVERLOADED":
      console.error(`OVERLOADED: come back in ${problem.retryAfterMs} ms`);
      break;
    default:
      console.error(`${problem.reason || problem.code}: ${problem.message}`);
  }
  process.exitCode = 1;
}
client.close();
