package main

// run makes the call and tells how what came differs from what is expected; "" when it does not.
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
	// What ends a call always counts, the rest where the vector speaks of it.
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
