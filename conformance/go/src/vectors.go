package main

import (
	"encoding/json"
	"os"
	"time"
)

// vectors is the content of vectors.json; conformance/README.md explains the keys.
type vectors struct {
	Tolerance float64
	Groups    []group
}

type group struct {
	Name    string
	Server  string
	Vectors []vector
}

type vector struct {
	Name         string
	RPC          string
	Request      json.RawMessage
	RequestBytes []byte `json:"request_bytes"`
	Requests     []request
	TimeoutS     *float64 `json:"timeout_s"`
	Cancel       string
	HeldStreams  int `json:"held_streams"`
	Headers      map[string]string
	Compression  string
	Expect       map[string]any
}

// request is a message in protobuf's JSON mapping, or raw if Bytes is not nil.
type request struct {
	Message json.RawMessage
	Bytes   []byte
}

func readVectors(path string) (*vectors, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var all vectors
	return &all, json.Unmarshal(text, &all)
}

// messages returns all messages of the vector, one or a stream.
func (v vector) messages() []request {
	if v.Requests != nil {
		return v.Requests
	}
	return []request{{v.Request, v.RequestBytes}}
}

func (v vector) timeout() time.Duration {
	if v.TimeoutS == nil {
		return 30 * time.Second
	}
	return time.Duration(*v.TimeoutS * float64(time.Second))
}
