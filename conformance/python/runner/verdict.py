"""Compares a call's results with a vector's expectations."""

from collections.abc import Iterator
from typing import Any

from .comparison import differences

Json = dict[str, Any]


def verdict(expect: Json, seen: Json, tolerance: float) -> Iterator[str]:
    """Yield the differences."""
    expected_error, error = expect.get("error"), seen.get("error")
    if expected_error and error:
        yield from differences(expected_error, error, tolerance, "error")
    elif expected_error or error:
        yield f"error: expected {expected_error or 'none'}, got {error or 'none'}"
    for key in ("response", "first_response"):
        if key in expect:
            yield from differences(expect[key], seen.get(key), tolerance)
    if "results" in expect:
        yield from _result_differences(expect, seen["results"], tolerance)


def _result_differences(expect: Json, results: list[Json], tolerance: float) -> Iterator[str]:
    ids = [result["id"] for result in results]
    for id_ in set(ids):
        if ids.count(id_) > 1:
            yield f"results.{id_}: came {ids.count(id_)} times"
    outcomes = {result["id"]: result["outcome"] for result in results}
    yield from differences(expect["results"], outcomes, tolerance, "results")
    if ids != expect.get("order", ids):
        yield f"order: expected {expect['order']}, got {ids}"
