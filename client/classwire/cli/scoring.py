"""How a command scores the rows of a file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from classwire import Client

from .outputs import Scored
from .rows import Row

EmitScored: TypeAlias = Callable[[Row, Scored], None]
Run: TypeAlias = Callable[[Client, Iterator[Row], EmitScored], int]
"""Scores rows, hands each outcome to the function in order, and returns the number of errors."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """The calls of a command, and what their results depend on besides the model and the input."""

    run: Run
    options: Mapping[str, Any]
    """The options of all calls."""
    labels: tuple[str, ...] = ()
    """The candidate labels; empty for the labels of the model."""
