"""Ahead-of-time compilation: export, cache and compiling process."""
