/** What a failed call says beyond its code. */

import { status as Code, type StatusObject } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";

export interface Problem {
  code: string;
  /** By which programs tell errors apart; empty when the error is gRPC's own. */
  reason: string;
  /** Path of the field that is wrong; empty when none is. */
  field: string;
  /** When to come back; undefined when the server does not say. */
  retryAfterMs: number | undefined;
  message: string;
}

/** Reads the status of a call; a ServiceError is one, too. */
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
