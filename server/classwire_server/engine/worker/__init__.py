"""The process that runs a model: its start, its supervision, its protocol."""
