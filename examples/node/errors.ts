/** The details of a failed call. */

import { status as Code, type StatusObject } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";

export interface Problem {
  code: string;
  /** Decide by this; empty for gRPC's own errors. */
  reason: string;
  /** Path of the invalid field; empty if there is none. */
  field: string;
  /** When to retry; undefined if the server sends no time. */
  retryAfterMs: number | undefined;
  message: string;
}

/** Reads a call's status; a ServiceError is one too. */
export function problemOf(status: StatusObject): Problem {
  const problem: Problem = {
    code: Code[status.code],
    reason: "",
    field: "",
    retryAfterMs: undefined,
    message: status.details,
  };
  const [trailer] = status.metadata.get("grpc-status-details-bin");
  const details = trailer instanceof Buffer ? Status.decode(trailer).details : [];
  for (const { typeUrl, value } of details) {
    switch (typeUrl) {
      case "type.googleapis.com/google.rpc.ErrorInfo":
        problem.reason = ErrorInfo.decode(value).reason;
        break;
      case "type.googleapis.com/google.rpc.BadRequest":
        problem.field = BadRequest.decode(value).fieldViolations[0]?.field ?? "";
        break;
      case "type.googleapis.com/google.rpc.RetryInfo": {
        const delay = RetryInfo.decode(value).retryDelay;
        problem.retryAfterMs = Number(delay?.seconds ?? 0) * 1000 + (delay?.nanos ?? 0) / 1e6;
      }
    }
  }
  return problem;
}
