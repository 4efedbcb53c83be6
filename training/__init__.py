"""Trains and evaluates the embedded checkpoint `stars-en`."""
