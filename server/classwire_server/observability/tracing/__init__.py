"""Traces for OpenTelemetry: imported only where they are asked for."""
