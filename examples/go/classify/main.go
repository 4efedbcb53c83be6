// Command classify prints the label of a text and its score.
//
//	classify HOST:PORT TEXT [CA.pem]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/grpc/status"

	"example/classwirev1"
	"example/client"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: classify HOST:PORT TEXT [CA.pem]")
	}
	address, text, caFile := os.Args[1], os.Args[2], ""
	if len(os.Args) > 3 {
		caFile = os.Args[3]
	}

	connection, err := client.Dial(address, caFile)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	service := classwirev1.NewClassifyServiceClient(connection)

	// The server knows this deadline and rejects the call at once if it can't answer by then.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	response, err := service.Classify(ctx, &classwirev1.ClassifyRequest{
		Input: &classwirev1.TextInput{Text: text},
	})
	if err != nil {
		log.Fatalf("%s: %s\n%s", client.Reason(err), status.Convert(err).Message(), advice(err))
	}
	best := response.GetResult().GetScores()[0] // highest first
	fmt.Printf("%s %.4f\n", best.GetLabel(), best.GetScore())
}

// advice returns what a program should do about an error.
func advice(err error) string {
	switch client.Reason(err) {
	case "EMPTY_TEXT", "TEXT_TOO_LARGE":
		return "Send another text."
	case "TOO_MANY_TOKENS":
		return "Set options.truncation: windows read all of it, DROP_END drops its end."
	case "OVERLOADED":
		delay, _ := client.RetryAfter(err)
		return fmt.Sprintf("Retry in %v, or allow more time.", delay)
	case "DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE":
		return "Allow more time."
	case "POISON_INPUT":
		return "Do not retry. Tell the operator."
	case "UNAVAILABLE":
		return "No server answers at this address, or only one side uses TLS, or the CA is wrong."
	}
	if _, ok := client.RetryAfter(err); ok {
		return "It has been tried five times; try later."
	}
	return "The same call would fail again."
}
