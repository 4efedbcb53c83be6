"""What a metric is, before it has values."""

from dataclasses import dataclass
from typing import Literal

from classwire_server.aggregates import SECONDS


@dataclass(frozen=True)
class Metric:
    """One metric; `labels` in the order in which values are given, `bounds` of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = SECONDS
