"""The server's commands: serve, compile and doctor."""
