"""What operators see: counted where it happens or read when they ask, and served as metrics."""
