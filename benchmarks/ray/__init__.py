"""`Classify` on Ray Data next to one server's stream, on the same cores."""
