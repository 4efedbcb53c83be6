"""Engines of other projects, measured next to Classwire's on the same texts."""
