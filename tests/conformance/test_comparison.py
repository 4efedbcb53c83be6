"""The comparison rules of the kit's README, one by one, in the Python runner."""

from typing import Any

import pytest

from conformance.python.runner.comparison import differences
from conformance.python.runner.verdict import verdict

TOLERANCE = 1e-5
OK: dict[str, Any] = {"results": []}


def differ(expected: Any, actual: Any) -> list[str]:
    """Return the paths where two values differ."""
    return [line.partition(": ")[0] for line in differences(expected, actual, TOLERANCE)]


def judge(expect: dict[str, Any], **seen: Any) -> list[str]:
    """Return the faults of a response, by path."""
    return [line.partition(": ")[0] for line in verdict(expect, {**OK, **seen}, TOLERANCE)]


@pytest.mark.parametrize(
    ("expected", "actual", "paths"),
    [
        ({"score": 0.5}, {"score": 0.500009}, []),
        ({"score": 0.5}, {"score": 0.50002}, ["score"]),
        ({"score": 0.5}, {"score": "NaN"}, ["score"]),
        ({"score": 0.5}, {"score": float("nan")}, ["score"]),
        ({"score": 1}, {"score": True}, ["score"]),
        ({"id": 3}, {"id": 4}, ["id"]),
        ({"label": "5 stars"}, {"label": "4 stars"}, ["label"]),
        ({"size": "16384"}, {"size": 16384}, ["size"]),
        ({"text": "caf\u00e9"}, {"text": "cafe\u0301"}, ["text"]),
        ({"a": 1}, {}, ["a"]),
        ({}, {"a": 1}, ["a"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a[0]", "a[1]"]),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"b": 3}]}, ["a[1].b"]),
        ({"a": {"b": 1}}, {"a": [1]}, ["a"]),
    ],
)
def test_values(expected: Any, actual: Any, paths: list[str]) -> None:
    """Values are equal with the same keys, list lengths and strings, and numbers within the
    tolerance.
    """
    assert differ(expected, actual) == paths


@pytest.mark.parametrize("key", ["timing", "deviation", "message", "version"])
def test_what_is_not_compared(key: str) -> None:
    """Ignored keys may have any value, or be missing, at any depth."""
    for actual in ({}, {key: {"anything": 1}}):
        assert differ({"a": [{"b": 1}]}, {"a": [{"b": 1, **actual}]}) == []
        assert differ({"a": [{"b": 1, key: 7}]}, {"a": [{"b": 1, **actual}]}) == []


def test_time_to_come_back() -> None:
    """The retry time must be there or not, as expected; its length does not matter."""
    assert differ({"retryAfter": "1s"}, {"retryAfter": "0.250s"}) == []
    assert differ({"retryAfter": "1s"}, {}) == ["retryAfter"]
    assert differ({}, {"retryAfter": "1s"}) == ["retryAfter"]


def test_metadata() -> None:
    """All metadata must match; a value of `*` stands for any value, a `*` elsewhere for itself."""
    assert differ({"metadata": {"id": "*"}}, {"metadata": {"id": "4711"}}) == []
    assert differ({"metadata": {"id": "*"}}, {"metadata": {}}) == ["metadata"]
    assert differ({"metadata": {"id": "*"}}, {"metadata": {"id": "1", "b": "2"}}) == ["metadata"]
    assert differ({"metadata": {"id": "5"}}, {"metadata": {"id": "6"}}) == ["metadata"]
    assert differ({"text": "*"}, {"text": "anything"}) == ["text"]


def test_errors() -> None:
    """Code, reason, metadata, field and retry time must match, and nothing else may be there."""
    error = {"code": "NOT_FOUND", "reason": "UNKNOWN_MODEL", "field": "model"}
    expect = {"error": error}
    assert judge(expect, error=error) == []
    assert judge(expect, error={**error, "code": "INTERNAL"}) == ["error.code"]
    assert judge(expect, error={**error, "reason": "BAD_ID"}) == ["error.reason"]
    assert judge(expect, error={**error, "field": "name"}) == ["error.field"]
    assert judge(expect, error={**error, "retry": True}) == ["error.retry"]
    assert judge(expect, error={**error, "domain": "another"}) == ["error.domain"]
    assert judge({"error": {"code": "NOT_FOUND"}}, error=error) == ["error.field", "error.reason"]
    assert judge(expect, response={}) == ["error"]
    assert judge({"response": {}}, error=error)[0] == "error"


def test_responses() -> None:
    """The response of a unary call and the first of a stream are compared, each in its place."""
    for key in ("response", "first_response"):
        assert judge({key: {"a": 1}}, **{key: {"a": 1}}) == []
        assert judge({key: {"a": 1}}, **{key: {"a": 2}}) == ["a"]
        assert judge({key: {"a": 1}})


def result(id_: str, value: int = 0) -> dict[str, Any]:
    """Return a result of a stream."""
    return {"id": id_, "outcome": {"value": value}}


def test_results() -> None:
    """Each id must come exactly once, in any order unless the vector gives one."""
    expect: dict[str, Any] = {"results": {"a": {"value": 1}, "b": {"value": 2}}}
    a, b = result("a", 1), result("b", 2)
    assert judge(expect, results=[b, a]) == []
    assert judge(expect, results=[a]) == ["results.b"]
    assert judge(expect, results=[a, b, result("c")]) == ["results.c"]
    assert judge(expect, results=[a, b, a]) == ["results.a"]
    assert judge(expect, results=[a, result("b", 3)]) == ["results.b.value"]
    ordered = {**expect, "order": ["a", "b"]}
    assert judge(ordered, results=[a, b]) == []
    assert judge(ordered, results=[b, a]) == ["order"]
