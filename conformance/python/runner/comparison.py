"""Compares JSON values by the README's rules."""

from collections.abc import Iterator
from typing import Any

NOT_COMPARED = {"timing", "deviation", "message", "version"}
ONLY_PRESENCE = {"retryAfter"}
ANYTHING = "*"


def differences(expected: Any, actual: Any, tolerance: float, path: str = "") -> Iterator[str]:
    """Yield the differences of two values, as `path: expected …, got …`."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in sorted(expected.keys() | actual.keys() - NOT_COMPARED):
            if key in NOT_COMPARED:
                continue
            inner = f"{path}.{key}" if path else key
            if key not in actual:
                yield f"{inner}: expected {expected[key]!r}, got nothing"
            elif key not in expected:
                yield f"{inner}: expected nothing, got {actual[key]!r}"
            elif key == "metadata":
                yield from _metadata_differences(expected[key], actual[key], inner)
            elif key not in ONLY_PRESENCE:
                yield from differences(expected[key], actual[key], tolerance, inner)
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{path}: expected {len(expected)} entries, got {len(actual)}"
        for place, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from differences(one, other, tolerance, f"{path}[{place}]")
    elif _is_number(expected) and _is_number(actual):
        if not abs(expected - actual) <= tolerance:
            yield f"{path}: expected {expected!r}, got {actual!r}"
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: expected {expected!r}, got {actual!r}"


def _metadata_differences(expected: Any, actual: Any, path: str) -> Iterator[str]:
    known = {
        key: actual.get(key) if value == ANYTHING else value for key, value in expected.items()
    }
    if known != actual:
        yield f"{path}: expected {expected!r}, got {actual!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
