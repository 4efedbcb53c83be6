"""Figures of a comparison. Pure."""

from collections.abc import Callable
from typing import Any

from benchmarks.figures import Figure, figure, ratio

Result = dict[str, Any]
"""A part of a run's JSON file."""

OURS, OTHERS = "Classwire", ("OpenVINO", "ONNX Runtime", "CTranslate2")


def rates(result: Result, engine: str, precision: str, cores: int) -> list[float]:
    """Return an engine's tokens per second by round. Raises LookupError if it has none."""
    peers = result["peers"]
    seconds = peers["precisions"][precision][engine]["cores"][str(cores)]["seconds"]
    return [peers["tokens"] / taken for taken in seconds]


def lone_s(result: Result, engine: str, precision: str, tokens: int, threads: int) -> list[float]:
    """Return an engine's time of a lone text by round. Raises LookupError if it has none."""
    record = result["peers"]["precisions"][precision][engine]
    times: list[float] = record["lone_s"][str(tokens)][str(threads)]
    return times


def best_other(result: Result, precision: str, cores: int) -> list[float]:
    """Return the rates of the fastest of the other engines. Raises LookupError without any."""
    found = [
        rates(result, name, precision, cores)
        for name in OTHERS
        if name in result["peers"]["precisions"][precision]
    ]
    if not found:
        raise LookupError("no other engine")
    return max(found, key=lambda taken: figure(taken).median)


def of_openvino(precision: str, cores: int) -> Callable[[Result], Figure]:
    """Return a measure: our rate divided by OpenVINO's."""
    return lambda result: ratio(
        rates(result, OURS, precision, cores), rates(result, "OpenVINO", precision, cores)
    )


def of_best_other(precision: str, cores: int) -> Callable[[Result], Figure]:
    """Return a measure: our rate divided by the best of the other engines."""
    return lambda result: ratio(
        rates(result, OURS, precision, cores), best_other(result, precision, cores)
    )


def lone_of_openvino(precision: str, tokens: int, threads: int) -> Callable[[Result], Figure]:
    """Return a measure: our time for a lone text divided by OpenVINO's."""
    return lambda result: ratio(
        lone_s(result, OURS, precision, tokens, threads),
        lone_s(result, "OpenVINO", precision, tokens, threads),
    )
