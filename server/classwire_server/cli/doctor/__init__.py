"""What a machine has for a server, and what a server would choose on it."""
