"""Checkpoints: found, checked and loaded."""
