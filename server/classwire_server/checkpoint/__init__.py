"""Finds, checks and loads checkpoints."""
