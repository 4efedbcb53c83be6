"""How a client reaches its server: channel, credentials, session, and the cause of a failure."""
