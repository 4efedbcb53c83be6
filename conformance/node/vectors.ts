/** The types of vectors.json; ../README.md explains the keys. */

import type { JsonValue } from "@bufbuild/protobuf";

export interface Vectors {
  tolerance: number;
  groups: Group[];
}

export interface Group {
  name: string;
  server: string;
  vectors: Vector[];
}

export interface Vector {
  name: string;
  rpc: string;
  request?: JsonValue;
  request_bytes?: string;
  requests?: StreamMessage[];
  timeout_s?: number;
  cancel?: "at_once" | "after_first_response";
  held_streams?: number;
  headers?: { [key: string]: string };
  compression?: "gzip";
  expect: Expectation;
}

export type StreamMessage = { message: JsonValue } | { bytes: string };

export interface Expectation {
  response?: JsonValue;
  first_response?: JsonValue;
  results?: { [id: string]: JsonValue };
  order?: string[];
  error?: {
    code: string;
    reason?: string;
    metadata?: { [key: string]: string };
    field?: string;
    retry?: true;
  };
}
