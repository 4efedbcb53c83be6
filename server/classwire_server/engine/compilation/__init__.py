"""Ahead-of-time compilation: export, cache, the process that compiles, the changeover."""
