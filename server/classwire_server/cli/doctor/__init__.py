"""What a machine has for a server, and what a server chooses on it."""
