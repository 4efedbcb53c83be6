package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"example/classwirev1"
)

const (
	itemTimeout  = 60 * time.Second // from the server's reading to the answer
	messageBytes = 1 << 20          // of texts, about: a server takes 4 MiB by default
)

// work contains the lines without a result. It outlives streams.
type work struct {
	lines <-chan *classwirev1.StreamItem // nil once all have been read
	next  []*classwirev1.StreamItem      // not sent on the current stream
	sent  map[string]*classwirev1.StreamItem
}

func newWork(lines <-chan *classwirev1.StreamItem) *work {
	return &work{lines: lines, sent: map[string]*classwirev1.StreamItem{}}
}

// awaitItem waits until there is an item to send; it returns false if no more will come.
func (w *work) awaitItem() bool {
	if len(w.next) == 0 && w.lines != nil {
		w.add(<-w.lines)
	}
	return len(w.next) > 0
}

// add adds an item received from lines; nil means the end.
func (w *work) add(item *classwirev1.StreamItem) {
	if item == nil {
		w.lines = nil
	} else {
		w.next = append(w.next, item)
	}
}

// stream sends items and prints results on one stream, until all are answered or the stream ends.
func (w *work) stream(service classwirev1.ClassifyServiceClient) (answered bool, err error) {
	defer w.takeBack()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := service.StreamClassify(ctx)
	if err != nil {
		return false, err
	}
	stream.Send(&classwirev1.StreamClassifyRequest{
		Event: &classwirev1.StreamClassifyRequest_Config{
			Config: &classwirev1.StreamConfig{ItemTimeout: durationpb.New(itemTimeout)},
		},
	})
	first, err := stream.Recv() // also returns the error of a failed Send
	if err != nil {
		return false, err
	}
	window := int(first.GetStarted().GetWindowItems())
	most := int(first.GetStarted().GetMaxItemsPerMessage())
	if most > window {
		most = window
	}

	responses, ended := receive(ctx, stream)
	for {
		// Waits until the window has room for a full message: full messages make a stream fast.
		hasRoom := len(w.sent)+most <= window
		lines := w.lines
		switch {
		case !hasRoom:
			lines = nil
		case len(w.next) > 0:
			stream.Send(w.message(most)) // the error's cause comes from ended
			continue
		case lines == nil:
			stream.CloseSend()
		}
		select {
		case item := <-lines:
			w.add(item)
		case response := <-responses:
			answered = true
			if err := w.print(response.GetResults().GetResults()); err != nil {
				return answered, err
			}
		case err := <-ended:
			return answered, err
		}
	}
}

// receive reads a stream until it ends, with nil or an error, or ctx does.
func receive(ctx context.Context, stream classwirev1.ClassifyService_StreamClassifyClient) (
	<-chan *classwirev1.StreamClassifyResponse, <-chan error) {
	responses := make(chan *classwirev1.StreamClassifyResponse)
	ended := make(chan error, 1)
	go func() {
		for {
			response, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if response == nil {
				ended <- err
				return
			}
			select {
			case responses <- response:
			case <-ctx.Done():
				return
			}
		}
	}()
	return responses, ended
}

// message takes the items that are available, without waiting for more.
func (w *work) message(most int) *classwirev1.StreamClassifyRequest {
	var items []*classwirev1.StreamItem
	for bytes := 0; len(items) < most && bytes < messageBytes; {
		if len(w.next) == 0 {
			select {
			case item := <-w.lines:
				w.add(item)
			default:
			}
		}
		if len(w.next) == 0 {
			break
		}
		item := w.next[0]
		w.next = w.next[1:]
		w.sent[item.GetId()] = item
		items = append(items, item)
		bytes += len(item.GetInput().GetText())
	}
	return &classwirev1.StreamClassifyRequest{
		Event: &classwirev1.StreamClassifyRequest_Items{
			Items: &classwirev1.StreamItems{Items: items},
		},
	}
}

// print returns an error if another server can answer the item.
func (w *work) print(results []*classwirev1.StreamResult) error {
	for _, result := range results {
		failure := result.GetOutcome().GetError()
		switch {
		case codes.Code(failure.GetCode()) == codes.Unavailable:
			return status.Error(codes.Unavailable, failure.GetReason())
		case failure != nil:
			fmt.Printf("%s\t%s\n", result.GetId(), failure.GetReason())
		default:
			best := result.GetOutcome().GetClassification().GetScores()[0]
			fmt.Printf("%s\t%s\t%.4f\n", result.GetId(), best.GetLabel(), best.GetScore())
		}
		delete(w.sent, result.GetId())
	}
	return nil
}

// takeBack queues unanswered items again for the next stream.
func (w *work) takeBack() {
	for id, item := range w.sent {
		w.next = append(w.next, item)
		delete(w.sent, id)
	}
}
