"""The server's settings: what they are, where they come from, and what is checked."""
