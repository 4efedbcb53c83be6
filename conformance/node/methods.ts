/** Methods by full name, and conversion of their messages between JSON and the wire. */

import {
  createRegistry,
  type DescMessage,
  type DescMethod,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { EmptySchema } from "@bufbuild/protobuf/wkt";
import { file_classwire_v1_classwire } from "./generated/classwire/v1/classwire_pb.js";
import { file_grpc_health_v1_health } from "./generated/grpc/health/v1/health_pb.js";
import type { StreamMessage } from "./vectors.js";

export interface Method {
  path: string;
  kind: DescMethod["methodKind"];
  input: DescMessage;
  output: DescMessage;
}

const registry = createRegistry(file_classwire_v1_classwire, file_grpc_health_v1_health);

/** Returns the method of a name such as `classwire.v1.ClassifyService/Classify`. */
export function methodNamed(rpc: string): Method {
  const [service = "", name] = rpc.split("/");
  const known = registry.getService(service)?.methods.find((method) => method.name === name);
  // Vectors also call methods outside the contract, which a server must reject: unary, any bytes.
  const {
    methodKind: kind,
    input,
    output,
  } = known ?? { methodKind: "unary", input: EmptySchema, output: EmptySchema };
  return { path: `/${rpc}`, kind, input, output };
}

export function encodeRequest(method: Method, request: StreamMessage): Buffer {
  if ("bytes" in request) return Buffer.from(request.bytes, "base64");
  return Buffer.from(toBinary(method.input, fromJson(method.input, request.message)));
}

export function decodeResponse(method: Method, bytes: Uint8Array): JsonObject {
  return toJson(method.output, fromBinary(method.output, bytes)) as JsonObject;
}
