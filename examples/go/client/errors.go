package client

import (
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reason says what a call failed with, in a word that stays as it is: the server's reason, such as
// EMPTY_TEXT, or the name of the code when the error is gRPC's own: nobody was there, for example.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "classwire" {
			return info.GetReason()
		}
	}
	return code.Code(status.Code(err)).String()
}

// RetryAfter says whether the same call may succeed later, and how long to wait at least.
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
