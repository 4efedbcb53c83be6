"""The server's commands: serve, compile, doctor."""
