"""The version of both distributions. Their builds read it from here."""

__version__ = "0.1.0"
