"""Streams: many texts in one call, within a window."""
