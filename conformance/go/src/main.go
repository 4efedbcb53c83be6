// Command conformance runs the vectors against servers and reports failures.
//
//	conformance VECTORS serving=HOST:PORT [faulty=HOST:PORT] [draining=HOST:PORT]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
)

const (
	timeToConnect = 10 * time.Second
	nothingRan    = 2
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: conformance VECTORS SERVER=HOST:PORT ...")
	}
	vectors, err := readVectors(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	servers := map[string]*server{}
	for _, argument := range os.Args[2:] {
		name, address, _ := strings.Cut(argument, "=")
		servers[name] = serverBehind(connect(address))
	}
	var sum tally
	for _, group := range vectors.Groups {
		got := runGroup(group, servers[group.Server], vectors.Tolerance)
		fmt.Printf("group %s: %s\n", group.Name, got)
		sum.add(got)
	}
	fmt.Println(sum)
	if sum.failed > 0 {
		os.Exit(1)
	}
	if sum.passed == 0 {
		os.Exit(nothingRan)
	}
}

// connect waits until the server is reachable, so that the first vectors' deadlines do not pass.
func connect(address string) *grpc.ClientConn {
	ctx, cancel := context.WithTimeout(context.Background(), timeToConnect)
	defer cancel()
	connection, err := grpc.DialContext(ctx, address, grpc.WithInsecure(), grpc.WithBlock())
	if err != nil {
		log.Fatalf("%s: %v", address, err)
	}
	return connection
}

func runGroup(group group, server *server, tolerance float64) tally {
	if server == nil {
		return tally{skipped: len(group.Vectors)}
	}
	var sum tally
	for _, vector := range group.Vectors {
		if found := vector.run(server, tolerance); found != "" {
			sum.failed++
			fmt.Printf("FAIL %s/%s: %s\n", group.Name, vector.Name, found)
		} else {
			sum.passed++
		}
	}
	return sum
}

type tally struct{ passed, failed, skipped int }

func (t *tally) add(other tally) {
	t.passed += other.passed
	t.failed += other.failed
	t.skipped += other.skipped
}

func (t tally) String() string {
	text := fmt.Sprintf("%d passed, %d failed", t.passed, t.failed)
	if t.skipped > 0 {
		text += fmt.Sprintf(", %d skipped", t.skipped)
	}
	return text
}
