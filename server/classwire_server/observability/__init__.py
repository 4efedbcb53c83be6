"""Logs, metrics and traces. No room below imports this one."""
