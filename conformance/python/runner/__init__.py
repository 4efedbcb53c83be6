"""Runs the vectors, with bare grpcio and stubs of its own; nothing of it needs Classwire."""
