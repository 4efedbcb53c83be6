package main

import (
	"context"
	"errors"
	"io"

	"conformance/health"

	classwirev1 "github.com/classwire/classwire/gen/go/classwire/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A method makes a call by its generated stub, unary or streaming.
type method struct {
	newRequest func() proto.Message
	// invoke returns when the call has ended, with the status that ended it.
	invoke func(ctx context.Context, sent []proto.Message, received func(proto.Message),
		options ...grpc.CallOption) error
}

type server struct {
	connection *grpc.ClientConn
	classify   classwirev1.ClassifyServiceClient
	methods    map[string]method
}

func serverBehind(connection *grpc.ClientConn) *server {
	classify := classwirev1.NewClassifyServiceClient(connection)
	models := classwirev1.NewModelServiceClient(connection)
	checks := health.NewHealthClient(connection)
	return &server{connection, classify, map[string]method{
		"classwire.v1.ClassifyService/Classify":         unary(classify.Classify),
		"classwire.v1.ClassifyService/BatchClassify":    unary(classify.BatchClassify),
		"classwire.v1.ClassifyService/StreamClassify":   stream(classify.StreamClassify),
		"classwire.v1.ClassifyService/Tokenize":         unary(classify.Tokenize),
		"classwire.v1.ClassifyService/Rank":             unary(classify.Rank),
		"classwire.v1.ClassifyService/ZeroShotClassify": unary(classify.ZeroShotClassify),
		"classwire.v1.ModelService/ListModels":          unary(models.ListModels),
		"classwire.v1.ModelService/GetModel":            unary(models.GetModel),
		"classwire.v1.ModelService/GetServerInfo":       unary(models.GetServerInfo),
		"grpc.health.v1.Health/Check":                   unary(checks.Check),
		"grpc.health.v1.Health/Watch":                   watch(checks.Watch),
	}}
}

// methodNamed returns the method of a full name; one without a stub takes one message of any bytes.
func (s *server) methodNamed(name string) method {
	if method, isKnown := s.methods[name]; isKnown {
		return method
	}
	return unary(func(ctx context.Context, request *emptypb.Empty, options ...grpc.CallOption) (
		*emptypb.Empty, error) {
		response := new(emptypb.Empty)
		return response, s.connection.Invoke(ctx, "/"+name, request, response, options...)
	})
}

type pointer[T any] interface {
	*T
	proto.Message
}

func unary[Q any, PQ pointer[Q], R proto.Message](
	stub func(context.Context, PQ, ...grpc.CallOption) (R, error),
) method {
	return method{
		newRequest: func() proto.Message { return PQ(new(Q)) },
		invoke: func(ctx context.Context, sent []proto.Message, received func(proto.Message),
			options ...grpc.CallOption) error {
			response, err := stub(ctx, sent[0].(PQ), options...)
			if err == nil {
				received(response)
			}
			return err
		},
	}
}

func watch(
	stub func(context.Context, *health.HealthCheckRequest, ...grpc.CallOption) (
		health.Health_WatchClient, error),
) method {
	return method{
		newRequest: func() proto.Message { return new(health.HealthCheckRequest) },
		invoke: func(ctx context.Context, sent []proto.Message, received func(proto.Message),
			options ...grpc.CallOption) error {
			call, err := stub(ctx, sent[0].(*health.HealthCheckRequest), options...)
			if err != nil {
				return err
			}
			return receiveAll(call.Recv, received)
		},
	}
}

func stream(
	stub func(context.Context, ...grpc.CallOption) (
		classwirev1.ClassifyService_StreamClassifyClient, error),
) method {
	return method{
		newRequest: func() proto.Message { return new(classwirev1.StreamClassifyRequest) },
		invoke: func(ctx context.Context, sent []proto.Message, received func(proto.Message),
			options ...grpc.CallOption) error {
			call, err := stub(ctx, options...)
			if err != nil {
				return err
			}
			// Sends and receives concurrently: a server whose responses nobody reads stops reading.
			go func() {
				for _, message := range sent {
					if call.Send(message.(*classwirev1.StreamClassifyRequest)) != nil {
						return // Recv returns the cause
					}
				}
				call.CloseSend()
			}()
			return receiveAll(call.Recv, received)
		},
	}
}

func receiveAll[R proto.Message](receive func() (R, error), received func(proto.Message)) error {
	for {
		message, err := receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		received(message)
	}
}
