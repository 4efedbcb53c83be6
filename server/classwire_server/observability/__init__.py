"""What operators see: logs, metrics, traces. Nothing below knows of it."""
