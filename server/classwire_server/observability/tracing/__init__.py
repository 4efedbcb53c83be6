"""OpenTelemetry traces. Imported only if traces are enabled."""
