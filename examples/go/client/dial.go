// Package client is the code that programs calling Classwire share.
package client

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// gRPC does not retry StreamClassify: only the caller knows which items have no result.
const serviceConfig = `{
	"loadBalancingConfig": [{"round_robin": {}}],
	"methodConfig": [{
		"name": [
			{"service": "classwire.v1.ClassifyService", "method": "Classify"},
			{"service": "classwire.v1.ClassifyService", "method": "BatchClassify"},
			{"service": "classwire.v1.ClassifyService", "method": "Tokenize"},
			{"service": "classwire.v1.ClassifyService", "method": "Rank"},
			{"service": "classwire.v1.ClassifyService", "method": "ZeroShotClassify"},
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
// the next address of the name HOST. With a CA file it uses TLS.
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
		// Reconnects within 5 s to a server that is back; gRPC's default waits up to 2 minutes.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second,
			},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Detects within 40 s that a server's host has vanished.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time:                30 * time.Second,
			Timeout:             10 * time.Second,
			PermitWithoutStream: true,
		}))
}
