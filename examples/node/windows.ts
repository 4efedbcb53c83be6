/**
 * Reads a long text in windows: node dist/windows.js HOST:PORT TEXT [CA.pem]
 * Prints label and score of the whole text, then of each window, with the part that it reads.
 */

import { Metadata, type ServiceError } from "@grpc/grpc-js";
import { channelCredentials, channelOptions } from "./channel.js";
import { problemOf } from "./errors.js";
import {
  ClassifyRequest,
  type ClassifyResponse,
  ClassifyServiceClient,
  OffsetUnit,
  Truncation,
} from "./generated/classwire/v1/classwire.js";

const [target = "", text = "", caFile] = process.argv.slice(2);
const client = new ClassifyServiceClient(target, channelCredentials(caFile), channelOptions);

function classify(text: string): Promise<ClassifyResponse> {
  const request = ClassifyRequest.fromPartial({
    input: { text },
    options: {
      truncation: Truncation.TRUNCATION_WINDOWS,
      // Small windows tell where a label rises; by default they have the model's max_tokens.
      windows: { windowTokens: 24 },
      includeWindows: true,
      offsetUnit: OffsetUnit.OFFSET_UNIT_UTF16, // to slice JavaScript's strings
    },
  });
  return new Promise((resolve, reject) =>
    client.classify(request, new Metadata(), { deadline: Date.now() + 10_000 }, (error, response) =>
      error ? reject(error) : resolve(response),
    ),
  );
}

try {
  const { result } = await classify(text);
  const scores = result?.scores ?? []; // highest first
  if (scores[0]) console.log(`${scores[0].label}\t${scores[0].score.toFixed(4)}`);
  const labels = new Map(scores.map(({ labelId, label }) => [labelId, label]));
  for (const window of result?.windows ?? []) {
    const score = Math.max(...window.scores);
    const label = labels.get(window.scores.indexOf(score));
    console.log(`${label}\t${score.toFixed(4)}\t${text.slice(window.start, window.end)}`);
  }
} catch (error) {
  const problem = problemOf(error as ServiceError);
  console.error(`${problem.reason || problem.code}: ${problem.message}`);
  process.exitCode = 1;
}
client.close();
