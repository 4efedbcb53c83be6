"""The Classwire server: Hugging Face text classifiers over gRPC."""

from classwire import __version__

__all__ = ["__version__"]
