"""The choice of a checkpoint's engine: candidates are checked for parity and timed."""
