"""Classwire on Ray: servers placed by Ray Serve, and a model for Ray Data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .application import Fleet, Scaling, down, replica_states, targets, up
    from .classify import Classify

__all__ = ["Classify", "Fleet", "Scaling", "down", "replica_states", "targets", "up"]

_PLACES = {"Classify": "classify"}
"""The modules of the names; all others are in `application`. A bulk job imports no Ray Serve."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES.get(name, 'application')}", __name__), name)
