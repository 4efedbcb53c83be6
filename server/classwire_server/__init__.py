"""The Classwire server: Hugging Face text classifiers over gRPC."""

from classwire._version import __version__

__all__ = ["__version__"]
