"""Calls without a connection: their messages, steps, retries, results and errors."""
