"""Ahead-of-time compilation: export, cache, compiling process, changeover."""
