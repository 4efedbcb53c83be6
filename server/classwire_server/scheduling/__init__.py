"""From queued texts to batches for an engine. Pure, but for the dispatcher."""
