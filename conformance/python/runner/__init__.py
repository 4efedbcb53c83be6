"""Runs the vectors with grpcio and its own stubs, without Classwire's packages."""
