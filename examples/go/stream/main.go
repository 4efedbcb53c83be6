// Command stream classifies each line of standard input, which may be endless. It prints each line's
// number, label and score, or its number and the error's reason.
//
//	stream HOST:PORT [CA.pem]
package main

import (
	"bufio"
	"errors"
	"io"
	"log"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/status"

	"example/classwirev1"
	"example/client"
)

const (
	readAhead    = 1000 // lines
	mostFailures = 25   // in a row: about half a minute
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: stream HOST:PORT [CA.pem]")
	}
	address, caFile := os.Args[1], ""
	if len(os.Args) > 2 {
		caFile = os.Args[2]
	}
	connection, err := client.Dial(address, caFile)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	service := classwirev1.NewClassifyServiceClient(connection)

	lines := make(chan *classwirev1.StreamItem, readAhead)
	go read(os.Stdin, lines)
	work := newWork(lines)
	for failures := 0; work.awaitItem(); {
		answered, err := work.stream(service)
		if err == nil {
			continue
		}
		// A server that drains or fails ends its streams. The next stream sends the remaining items, to
		// this or another server, after a growing random pause.
		if answered {
			failures = 0
		}
		failures++
		delay, mayRetry := client.RetryAfter(err)
		if !mayRetry || failures > mostFailures {
			log.Printf("%s: %s", client.Reason(err), status.Convert(err).Message())
			log.Fatalf("%d lines were read, and have no answer", len(work.next))
		}
		pause := failures * (50 + rand.Intn(100))
		time.Sleep(delay + time.Duration(pause)*time.Millisecond)
		connection.ResetConnectBackoff() // gRPC's default pauses grow to two minutes
	}
}

// read makes an item of each line, with the line's number as id.
func read(input io.Reader, lines chan<- *classwirev1.StreamItem) {
	defer close(lines)
	reader := bufio.NewReader(input)
	for number := 1; ; number++ {
		text, err := reader.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			log.Fatal(err)
		}
		if text == "" {
			return
		}
		lines <- &classwirev1.StreamItem{
			Id: strconv.Itoa(number),
			Input: &classwirev1.TextInput{
				// Invalid UTF-8 would end the stream.
				Text: strings.ToValidUTF8(strings.TrimRight(text, "\r\n"), "\uFFFD"),
			},
		}
	}
}
