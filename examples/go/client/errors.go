package client

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason returns a stable word for a call's error: the server's reason, such as EMPTY_TEXT, or the name
// of the code for gRPC's own errors, such as UNAVAILABLE.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "classwire" {
			return info.GetReason()
		}
	}
	return code.Code(status.Code(err)).String()
}

// RetryAfter tells whether the same call may succeed later, and the minimum wait.
func RetryAfter(err error) (time.Duration, bool) {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			delay := info.GetRetryDelay()
			return time.Duration(delay.GetSeconds())*time.Second +
				time.Duration(delay.GetNanos()), true
		}
	}
	return 0, status.Code(err) == codes.Unavailable
}
