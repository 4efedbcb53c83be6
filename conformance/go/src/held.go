package main

import (
	"context"
	"time"

	classwirev1 "github.com/classwire/classwire/gen/go/classwire/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const timeToHold = 30 * time.Second

// holdStreams opens the streams to hold during the call and reads their `started`. The returned
// function cancels them and waits until they have ended.
func (v vector) holdStreams(classify classwirev1.ClassifyServiceClient) (
	release func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), v.timeout()+timeToHold)
	var held []classwirev1.ClassifyService_StreamClassifyClient
	release = func() {
		cancel()
		for _, stream := range held {
			for err := error(nil); err == nil; _, err = stream.Recv() {
			}
		}
	}
	for i := 0; i < v.HeldStreams; i++ {
		config := new(classwirev1.StreamClassifyRequest)
		if err := protojson.Unmarshal(v.Requests[0].Message, config); err != nil {
			return release, err
		}
		stream, err := classify.StreamClassify(ctx)
		if err != nil {
			return release, err
		}
		held = append(held, stream)
		if err := stream.Send(config); err != nil {
			return release, err
		}
		if _, err := stream.Recv(); err != nil {
			return release, err
		}
	}
	return release, nil
}
