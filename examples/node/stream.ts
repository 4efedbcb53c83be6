/** Classifies standard input line by line: node dist/stream.js HOST:PORT [CA.pem] */

import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { status as Code, type StatusObject } from "@grpc/grpc-js";
import { channelCredentials, channelOptions } from "./channel.js";
import { problemOf } from "./errors.js";
import {
  ClassifyServiceClient,
  StreamConfig,
  type StreamItem,
  type StreamResult,
  type StreamStarted,
} from "./generated/classwire/v1/classwire.js";

const READ_AHEAD_LINES = 1_000;
const ATTEMPTS = 40; // about a minute, including pauses

const [target = "", caFile] = process.argv.slice(2);
const client = new ClassifyServiceClient(target, channelCredentials(caFile), channelOptions);

const waiting: StreamItem[] = []; // read, not sent yet
const unanswered = new Map<string, StreamItem>(); // sent, without a result
let attempts = 0; // since a server last accepted a stream
let send = () => {}; // sends as many items as the open stream's window allows

let lineNumber = 0;
let inputEnded = false;
const input = createInterface({ input: process.stdin });
input.on("line", (text) => {
  waiting.push({ id: String(++lineNumber), input: { text } });
  if (waiting.length >= READ_AHEAD_LINES) input.pause();
  setImmediate(() => send()); // Later, so that lines that arrive together go in one message.
});
input.on("close", () => {
  inputEnded = true;
  send();
});

/** Opens a stream and returns its status. */
function stream(): Promise<StatusObject> {
  const call = client.streamClassify();
  let started: StreamStarted | undefined;

  send = () => {
    while (started && waiting.length > 0 && !call.writableNeedDrain) {
      const room = started.windowItems - unanswered.size;
      const items = waiting.splice(0, Math.min(room, started.maxItemsPerMessage));
      if (items.length === 0) return;
      for (const item of items) unanswered.set(item.id, item);
      call.write({ event: { $case: "items", value: { items } } });
    }
    if (waiting.length > 0) return;
    if (inputEnded) call.end();
    else input.resume();
  };

  call.on("drain", () => send());
  call.on("data", ({ event }) => {
    if (event?.$case === "started") {
      started = event.value;
      attempts = 0;
    } else if (event?.$case === "results") {
      for (const result of event.value.results) {
        unanswered.delete(result.id);
        print(result);
      }
    }
    send();
  });
  call.on("error", () => {}); // The status, which follows, contains the same error.

  // A stream has no deadline, but each item has; it starts when the server reads the item.
  const config = StreamConfig.fromPartial({ itemTimeout: { seconds: 60n } });
  call.write({ event: { $case: "config", value: config } });
  return new Promise((resolve) => call.once("status", resolve));
}

function print({ id, outcome }: StreamResult): void {
  const result = outcome?.outcome;
  if (result?.$case === "classification") {
    const [best] = result.value.scores;
    if (best) console.log(`${id}\t${best.label}\t${best.score.toFixed(4)}`);
  } else if (result?.$case === "error") {
    console.log(`${id}\t${result.value.reason}`);
  }
}

let status = await stream();
while (status.code === Code.UNAVAILABLE && ++attempts < ATTEMPTS) {
  // Any stream may end so: the server drains, restarts or is gone. A new one sends what remains.
  send = () => {};
  waiting.unshift(...unanswered.values());
  unanswered.clear();
  await setTimeout((1 + Math.random()) * Math.min(50 * 2 ** attempts, 1_000)); // not all at once
  status = await stream();
}
if (status.code !== Code.OK) {
  const { code, reason, message } = problemOf(status);
  console.error(
    `${reason || code}: ${message}; ${waiting.length + unanswered.size} lines without a result`,
  );
  process.exitCode = 1;
}
client.close();
process.stdin.destroy();
