"""Which engine a checkpoint gets: candidates, checked for parity and timed."""
