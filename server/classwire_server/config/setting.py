"""A setting as a field of a frozen dataclass, with what it does."""

from dataclasses import field
from typing import Any


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """A field with this default; `help` is for the command line and the page of settings."""
    return field(default=default, metadata={"help": help, **metadata})
