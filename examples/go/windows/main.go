// Command windows reads a long text in windows. It prints label and score of the whole text, then of
// each window, with the part that it reads.
//
//	windows HOST:PORT TEXT [CA.pem]
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
		log.Fatal("usage: windows HOST:PORT TEXT [CA.pem]")
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

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	service := classwirev1.NewClassifyServiceClient(connection)
	response, err := service.Classify(ctx, &classwirev1.ClassifyRequest{
		Input: &classwirev1.TextInput{Text: text},
		Options: &classwirev1.ClassifyOptions{
			Truncation: classwirev1.Truncation_TRUNCATION_WINDOWS,
			// Small windows tell where a label rises; by default they have the model's max_tokens.
			Windows:        &classwirev1.WindowOptions{WindowTokens: 24},
			IncludeWindows: true,
			OffsetUnit:     classwirev1.OffsetUnit_OFFSET_UNIT_UTF8, // to slice Go's strings
		},
	})
	if err != nil {
		log.Fatalf("%s: %s", client.Reason(err), status.Convert(err).Message())
	}

	scores := response.GetResult().GetScores() // highest first
	fmt.Printf("%s\t%.4f\n", scores[0].GetLabel(), scores[0].GetScore())
	labels := map[int]string{}
	for _, score := range scores {
		labels[int(score.GetLabelId())] = score.GetLabel()
	}
	for _, window := range response.GetResult().GetWindows() {
		best := 0
		for id, score := range window.GetScores() {
			if score > window.GetScores()[best] {
				best = id
			}
		}
		part := text[window.GetStart():window.GetEnd()]
		fmt.Printf("%s\t%.4f\t%s\n", labels[best], window.GetScores()[best], part)
	}
}
