package main

import (
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// jsonOfStatus returns a status in the form of vectors: absent values have no key.
func jsonOfStatus(err error) map[string]any {
	got := status.Convert(err)
	value := map[string]any{"code": code.Code(got.Code()).String()}
	for _, detail := range got.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			value["reason"] = detail.Reason
			if detail.Domain != "classwire" {
				value["domain"] = detail.Domain
			}
			if len(detail.Metadata) > 0 {
				metadata := map[string]any{}
				for key, text := range detail.Metadata {
					metadata[key] = text
				}
				value["metadata"] = metadata
			}
		case *errdetails.BadRequest:
			value["field"] = ""
			if len(detail.FieldViolations) > 0 {
				value["field"] = detail.FieldViolations[0].Field
			}
		case *errdetails.RetryInfo:
			value["retry"] = true
		}
	}
	return value
}
