"""TLS certificates, and callers with their rights."""
