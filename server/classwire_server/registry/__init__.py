"""The models of a server, by name."""
