"""How a client reaches its server: channel, credentials, retries, and the cause of a failure."""
