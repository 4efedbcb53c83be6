"""What a model says over time: its labels, its scores, and its distance from a reference."""
