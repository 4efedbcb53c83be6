"""The worker process that runs a model: its start, supervision and protocol."""
