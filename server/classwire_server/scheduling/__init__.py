"""From queued texts to batches for an engine. Pure code, except the dispatcher."""
