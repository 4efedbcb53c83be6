"""Defines a setting as a field of a frozen dataclass."""

from dataclasses import field
from typing import Any


def setting(default: Any, help: str, **metadata: Any) -> Any:
    """Return a field with this default. `--help` and the settings page show `help`."""
    return field(default=default, metadata={"help": help, **metadata})
