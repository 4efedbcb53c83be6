/** Runs all vectors: node main.js VECTORS serving=HOST:PORT [faulty=…] [draining=…] */

import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";
import { exchange, timeoutMs } from "./exchange.js";
import type { Group, Vector, Vectors } from "./vectors.js";
import { failure } from "./verdict.js";

const GRACE_MS = 5_000;

class Tally {
  passed = 0;
  failed = 0;
  skipped = 0;

  add(other: Tally): void {
    this.passed += other.passed;
    this.failed += other.failed;
    this.skipped += other.skipped;
  }

  toString(): string {
    const skipped = this.skipped ? `, ${this.skipped} skipped` : "";
    return `${this.passed} passed, ${this.failed} failed${skipped}`;
  }
}

async function runGroup(
  group: Group,
  target: string | undefined,
  tolerance: number,
): Promise<Tally> {
  const tally = new Tally();
  if (target === undefined) {
    tally.skipped = group.vectors.length;
    return tally;
  }
  const plaintext = grpc.credentials.createInsecure();
  const client = new grpc.Client(target, plaintext);
  const compressing = new grpc.Client(target, plaintext, {
    "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip,
  });
  for (const vector of group.vectors) {
    const found = await run(vector, vector.compression ? compressing : client, tolerance);
    if (found) console.log(`FAIL ${group.name}/${vector.name}: ${found}`);
    tally[found ? "failed" : "passed"] += 1;
  }
  client.close();
  compressing.close();
  return tally;
}

/** Returns the first difference of a vector's answer, or undefined if there is none. */
async function run(
  vector: Vector,
  client: grpc.Client,
  tolerance: number,
): Promise<string | undefined> {
  const over = new AbortController();
  try {
    // This timer keeps the process alive: Node would exit while a call without events is pending.
    const late = setTimeout(timeoutMs(vector) + GRACE_MS, undefined, over);
    const answer = await Promise.race([exchange(client, vector), late]);
    return answer ? failure(vector.expect, answer, tolerance) : "the call did not end";
  } catch (error) {
    return String(error);
  } finally {
    over.abort();
  }
}

const NOTHING_RAN = 2;

const [path = "", ...servers] = process.argv.slice(2);
const targets = new Map(servers.map((server) => server.split("=", 2) as [string, string]));
const { tolerance, groups } = JSON.parse(await readFile(path, "utf8")) as Vectors;

const sum = new Tally();
for (const group of groups) {
  const tally = await runGroup(group, targets.get(group.server), tolerance);
  console.log(`group ${group.name}: ${tally}`);
  sum.add(tally);
}
console.log(String(sum));
process.exit(sum.failed ? 1 : sum.passed ? 0 : NOTHING_RAN);
