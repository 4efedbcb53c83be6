"""The models of a server, by name, and what each says."""
