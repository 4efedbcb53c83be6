package main

// run makes the call and returns the first difference from the expected results, "" if there is none.
func (v vector) run(server *server, tolerance float64) string {
	release, err := v.holdStreams(server.classify)
	defer release()
	if err != nil {
		return "held_streams: " + err.Error()
	}
	got, err := v.call(server.methodNamed(v.RPC))
	if err != nil {
		return "request: " + err.Error()
	}
	// Always compares the call's status, other parts only if the vector has them.
	found := difference("error", v.Expect["error"], got["error"], tolerance)
	for _, part := range []string{"response", "first_response", "results", "order"} {
		if expected, isSpokenOf := v.Expect[part]; isSpokenOf && found == "" {
			path := part
			if part == "response" {
				path = ""
			}
			found = difference(path, expected, got[part], tolerance)
		}
	}
	return found
}
