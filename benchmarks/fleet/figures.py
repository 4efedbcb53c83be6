"""Figures of replicas behind Envoy. Pure.

They raise LookupError if the result lacks what they need.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, figure, ratio
from benchmarks.measures import Result

from .points import DIRECT, JSON_LOADED, ONE, ONE_LOADED, REPLICAS, TWO_LOADED, Point

GOAL = 1.8
"""Least throughput of two replicas over that of one."""


def values(result: Result, checkpoint: str, point: Point, field: str) -> list[Any]:
    """Return a field of a point's samples, by round."""
    return [sample[field] for sample in result["fleet"]["models"][checkpoint][point.name]]


def scaling(result: Result, checkpoint: str) -> Figure:
    """Return the throughput of two replicas divided by that of one, both through Envoy."""
    two, one = (
        values(result, checkpoint, point, "texts_per_s") for point in (TWO_LOADED, ONE_LOADED)
    )
    return ratio(two, one)


def room(result: Result, checkpoint: str) -> Figure:
    """Return the throughput of two replicas over that of one for which the cores suffice.

    It is what all cores do if each text takes as much processor time as with one replica, in all
    processes together.
    """
    rates = values(result, checkpoint, ONE_LOADED, "texts_per_s")
    times = values(result, checkpoint, ONE_LOADED, "processor_s")
    cores = result["fleet"]["cores"]
    return figure(
        [
            min(REPLICAS, cores / (rate * sum(taken_s.values())))
            for rate, taken_s in zip(rates, times, strict=True)
        ]
    )


def shown_scaling(checkpoint: str) -> Callable[[Result], Figure]:
    """Return the measure `scaling`; LookupError means that the cores do not suffice for GOAL."""

    def measure(result: Result) -> Figure:
        if room(result, checkpoint).median < GOAL:
            raise LookupError("cores")
        return scaling(result, checkpoint)

    return measure


def added_ms(result: Result, checkpoint: str, shape: str, quantile: str) -> Figure:
    """Return the milliseconds that Envoy adds to a quantile of single calls: "p50" or "p99"."""
    through, direct = (
        values(result, checkpoint, Point(way, shape, 1), f"{quantile}_s") for way in (ONE, DIRECT)
    )
    return figure([1e3 * (a_s - b_s) for a_s, b_s in zip(through, direct, strict=True)])


def json_share(result: Result, checkpoint: str) -> Figure:
    """Return the throughput of calls by JSON divided by that of calls by gRPC, through Envoy."""
    return ratio(
        values(result, checkpoint, JSON_LOADED, "texts_per_s"),
        values(result, checkpoint, ONE_LOADED, "texts_per_s"),
    )
