"""Streams: many texts by one call, in a window."""
