/**
 * Makes the calls that standard input describes in JSON, and writes the outcome of each as JSON.
 *
 * It reads messages from the .proto files, without generated code, and names fields and values as in
 * JSON.
 */

import { readFileSync } from "node:fs";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const { target, certificate, folders, options, calls } = JSON.parse(readFileSync(0, "utf8"));

const definition = loadSync(
  ["classwire/v1/classwire.proto", "google/rpc/error_details.proto", "google/rpc/status.proto"],
  { includeDirs: folders, enums: String, longs: Number, oneofs: true },
);
const credentials = certificate
  ? grpc.credentials.createSsl(readFileSync(certificate))
  : grpc.credentials.createInsecure();
const client = new grpc.Client(target, credentials, options);

/** Sends all requests of a call of any kind, half-closes unless isLeftOpen, and waits for its end. */
function make({ method, requests, timeoutS, isLeftOpen }) {
  const [service, name] = method.split("/");
  const { path, requestSerialize, responseDeserialize } = definition[service][name];
  return new Promise((resolve) => {
    const responses = [];
    const deadline = Date.now() + 1000 * timeoutS;
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, { deadline });
    call.on("data", (response) => responses.push(response));
    call.on("error", () => {}); // "status" says more
    call.on("status", (status) => resolve({ responses, ...ending(status) }));
    for (const request of requests) call.write(request);
    if (!isLeftOpen) call.end();
  });
}

/** A status with its error details. */
function ending({ code, details, metadata }) {
  const found = { code: grpc.status[code], message: details };
  const [raw] = metadata.get("grpc-status-details-bin");
  if (!raw) return found;
  for (const detail of decoded("google.rpc.Status", raw).details) {
    const type = detail.type_url.split("/").at(-1);
    found[type.split(".").at(-1)] = decoded(type, detail.value);
  }
  return found;
}

function decoded(type, raw) {
  return definition[type].deserialize(raw);
}

const outcomes = await Promise.all(calls.map(make));
client.close();
console.log(JSON.stringify(outcomes));
