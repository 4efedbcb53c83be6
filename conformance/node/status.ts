/** A call's status and details in the form of vectors. */

import {
  type DescMessage,
  fromBinary,
  type JsonObject,
  type MessageShape,
} from "@bufbuild/protobuf";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "./generated/google/rpc/error_details_pb.js";
import { StatusSchema } from "./generated/google/rpc/status_pb.js";

/** Returns the keys of `expect.error`, domain and message; undefined if the status is OK. */
export function errorOf(status: grpc.StatusObject): JsonObject | undefined {
  if (status.code === grpc.status.OK) return undefined;
  const details = detailsOf(status);
  const info = find(details, ErrorInfoSchema);
  const badRequest = find(details, BadRequestSchema);
  const retryInfo = find(details, RetryInfoSchema);
  return {
    code: grpc.status[status.code],
    message: status.details,
    ...(info && { domain: info.domain, reason: info.reason, metadata: info.metadata }),
    ...(badRequest && { field: badRequest.fieldViolations[0]?.field ?? "" }),
    ...(retryInfo && { retry: true }),
  };
}

function detailsOf(status: grpc.StatusObject): Any[] {
  const [bytes] = status.metadata.get("grpc-status-details-bin");
  return bytes instanceof Buffer ? fromBinary(StatusSchema, bytes).details : [];
}

function find<Desc extends DescMessage>(
  details: Any[],
  schema: Desc,
): MessageShape<Desc> | undefined {
  for (const detail of details) {
    const message = anyUnpack(detail, schema);
    if (message) return message;
  }
  return undefined;
}
