"""Logs, metrics, traces, and shadows. No room below imports this one."""
