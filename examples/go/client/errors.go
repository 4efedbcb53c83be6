package client

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason returns why a call failed, in a word that never changes: the server's reason, such as
// EMPTY_TEXT, or the name of the code if the error is gRPC's own, such as UNAVAILABLE.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "classwire" {
			return info.GetReason()
		}
	}
	return code.Code(status.Code(err)).String()
}

// RetryAfter returns the minimum time to wait, and whether the same call may succeed later.
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
