"""The server's settings: definitions, sources and validation."""
