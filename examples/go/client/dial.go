// Package client is what programs that call Classwire have in common.
package client

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// StreamClassify is not retried: what it has not answered, only the caller knows.
const serviceConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{
		"name": [
			{"service": "classwire.v1.ClassifyService", "method": "Classify"},
			{"service": "classwire.v1.ClassifyService", "method": "BatchClassify"},
			{"service": "classwire.v1.ClassifyService", "method": "Tokenize"},
			{"service": "classwire.v1.ModelService"}
		],
		"retryPolicy": {
			"maxAttempts": 5,
			"initialBackoff": "0.1s",
			"maxBackoff": "2s",
			"backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}]
}`

// Dial returns a connection for a whole program: it takes calls from any goroutine, and sends each to
// the next of the addresses that the name HOST has. With a CA's file it speaks TLS.
func Dial(address, caFile string) (*grpc.ClientConn, error) {
	security := grpc.WithInsecure()
	if caFile != "" {
		tls, err := credentials.NewClientTLSFromFile(caFile, "")
		if err != nil {
			return nil, err
		}
		security = grpc.WithTransportCredentials(tls)
	}
	return grpc.Dial("dns:///"+address, // Dial alone would take the first address only
		security,
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Finds within 5 s a server that comes back; gRPC by itself would wait for up to 2 minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Finds within 40 s that a server is gone without a word.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                30 * time.Second,
			Timeout:             10 * time.Second,
			PermitWithoutStream: true,
		}))
}
