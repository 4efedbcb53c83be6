/** A vector's call, from its first request to the status that ends it. */

import { once } from "node:events";
import type { JsonObject } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { decodeResponse, encodeRequest, type Method, methodNamed } from "./methods.js";
import type { StreamMessage, Vector } from "./vectors.js";

/** The results: every response as JSON, and the status. */
export interface Answer {
  responses: JsonObject[];
  status: grpc.StatusObject;
}

type Stream = grpc.ClientDuplexStream<Buffer, JsonObject>;

const DEFAULT_TIMEOUT_S = 30;
const NOTHING = Buffer.alloc(0);

export function timeoutMs(vector: Vector): number {
  return (vector.timeout_s ?? DEFAULT_TIMEOUT_S) * 1000;
}

/** Makes the vector's call while its `held_streams` are open. */
export async function exchange(client: grpc.Client, vector: Vector): Promise<Answer> {
  const method = methodNamed(vector.rpc);
  const requests = requestsOf(vector).map((request) => encodeRequest(method, request));
  const held = Array.from({ length: vector.held_streams ?? 0 }, () =>
    openStream(client, method, requests),
  );
  try {
    await Promise.all(held.map((stream) => once(stream, "data")));
    return await call(client, method, requests, vector);
  } finally {
    for (const stream of held) stream.cancel();
  }
}

function requestsOf(vector: Vector): StreamMessage[] {
  if (vector.requests) return vector.requests;
  if (vector.request_bytes !== undefined) return [{ bytes: vector.request_bytes }];
  return [{ message: vector.request ?? {} }];
}

async function call(
  client: grpc.Client,
  method: Method,
  requests: Buffer[],
  vector: Vector,
): Promise<Answer> {
  const responses: JsonObject[] = [];
  const [request = NOTHING] = requests;
  const headers = grpc.Metadata.fromHttp2Headers(vector.headers ?? {});
  const options = { deadline: Date.now() + timeoutMs(vector) };

  switch (method.kind) {
    case "unary": {
      const call = client.makeUnaryRequest(
        ...wire(method),
        request,
        headers,
        options,
        (_, response) => response && responses.push(response),
      );
      return { responses, status: await ended(call, vector) };
    }
    case "server_streaming": {
      const call = client.makeServerStreamRequest(...wire(method), request, headers, options);
      collect(call, responses, vector);
      return { responses, status: await ended(call, vector) };
    }
    case "bidi_streaming": {
      const call = client.makeBidiStreamRequest(...wire(method), headers, options);
      collect(call, responses, vector);
      const status = ended(call, vector);
      await send(call, requests);
      return { responses, status: await status };
    }
    default:
      throw new Error(`${method.kind} methods are not in the contract`);
  }
}

/** A method's path, serializer (from encoded bytes) and deserializer (to JSON). */
function wire(method: Method) {
  return [
    method.path,
    (request: Buffer) => request,
    (response: Buffer) => decodeResponse(method, response),
  ] as const;
}

function collect(
  call: grpc.ClientReadableStream<JsonObject> | Stream,
  responses: JsonObject[],
  vector: Vector,
): void {
  call.on("data", (response: JsonObject) => {
    responses.push(response);
    if (vector.cancel === "after_first_response") call.cancel();
  });
  call.on("error", () => {}); // The status, which follows, contains the same error.
}

/** Waits for the status; cancels the call first if the vector requires it. */
function ended(
  call: grpc.ClientUnaryCall | grpc.ClientReadableStream<JsonObject> | Stream,
  vector: Vector,
): Promise<grpc.StatusObject> {
  const status = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
  if (vector.cancel === "at_once") call.cancel();
  return status;
}

/** Writes all requests with back-pressure, then closes this side of the call. */
async function send(call: Stream, requests: Buffer[]): Promise<void> {
  const over = new AbortController();
  call.once("status", () => over.abort());
  for (const request of requests) {
    if (over.signal.aborted) return;
    if (!call.write(request)) await once(call, "drain", over).catch(() => {});
  }
  call.end();
}

/** Opens a stream with the first request. */
function openStream(client: grpc.Client, method: Method, [config = NOTHING]: Buffer[]): Stream {
  const stream = client.makeBidiStreamRequest(...wire(method));
  stream.on("error", () => {}); // The vector's end cancels the stream.
  stream.write(config);
  return stream;
}
