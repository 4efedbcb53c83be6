package main

import (
	"context"
	"encoding/json"

	classwirev1 "github.com/classwire/classwire/gen/go/classwire/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// observation contains a call's results, in the form of a vector's `expect`.
type observation map[string]any

// call makes the vector's call, which ends by its deadline. An error means an invalid vector.
func (v vector) call(method method) (observation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), v.timeout())
	defer cancel()
	for key, value := range v.Headers {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	codec := codec{map[proto.Message][]byte{}}
	var sent []proto.Message
	for _, request := range v.messages() {
		message := method.newRequest()
		if request.Bytes != nil {
			codec.bytes[message] = request.Bytes
		} else if err := protojson.Unmarshal(request.Message, message); err != nil {
			return nil, err
		}
		sent = append(sent, message)
	}
	options := []grpc.CallOption{grpc.ForceCodec(codec)}
	if v.Compression == "gzip" {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}

	got := observation{"results": map[string]any{}, "order": []any{}}
	ended := make(chan error, 1)
	go func() {
		ended <- method.invoke(ctx, sent, func(message proto.Message) {
			got.receive(message)
			if v.Cancel == "after_first_response" {
				cancel()
			}
		}, options...)
	}()
	if v.Cancel == "at_once" {
		cancel()
	}
	if err := <-ended; err != nil {
		got["error"] = jsonOfStatus(err)
	}
	return got, nil
}

// receive adds a message. It stores a second result for an id under a name that no vector has.
func (o observation) receive(message proto.Message) {
	if _, later := o["first_response"]; !later {
		o["first_response"] = jsonOf(message)
		o["response"] = o["first_response"]
	}
	response, _ := message.(*classwirev1.StreamClassifyResponse)
	for _, result := range response.GetResults().GetResults() {
		results, key := o["results"].(map[string]any), result.GetId()
		if _, again := results[key]; again {
			key += " (again)"
		}
		results[key] = jsonOf(result.GetOutcome())
		o["order"] = append(o["order"].([]any), result.GetId())
	}
}

// jsonOf returns protobuf's JSON mapping of a message, without fields of default value.
func jsonOf(message proto.Message) any {
	var value any
	text, err := protojson.Marshal(message)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		return err.Error()
	}
	return value
}

// codec sends raw bytes instead of a message that no generated type can hold.
type codec struct{ bytes map[proto.Message][]byte }

func (c codec) Marshal(message any) ([]byte, error) {
	if bytes, ok := c.bytes[message.(proto.Message)]; ok {
		return bytes, nil
	}
	return proto.Marshal(message.(proto.Message))
}

func (c codec) Unmarshal(data []byte, message any) error {
	return proto.Unmarshal(data, message.(proto.Message))
}

func (c codec) Name() string { return "proto" }
