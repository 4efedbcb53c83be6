"""The contract's table of errors, as vectors expect them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

CODES = {
    "CANCELLED": 1, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8, "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14,
}  # fmt: skip
"""The values of google.rpc.Code that vectors use."""


@dataclasses.dataclass(eq=False)
class Problem(Exception):
    """An error of a text or call, with the values on the wire.

    `field` is the path of the invalid field within the part; `at` puts another path before it.
    """

    code: str
    reason: str
    field: str = ""
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    retry: bool = False

    def at(self, path: str) -> "Problem":
        """Return the same problem as part of a larger message."""
        return dataclasses.replace(self, field=f"{path}.{self.field}")

    def status(self) -> dict[str, Any]:
        """Return the problem as a call's status."""
        error: dict[str, Any] = {"code": self.code, "reason": self.reason}
        if self.metadata:
            error["metadata"] = dict(self.metadata)
        if self.field:
            error["field"] = self.field
        if self.retry:
            error["retry"] = True
        return error

    def outcome(self) -> dict[str, Any]:
        """Return the problem as the outcome of one text of a batch or stream."""
        error: dict[str, Any] = {"code": CODES[self.code], "reason": self.reason}
        if self.field:
            error["field"] = self.field
        if self.metadata:
            error["metadata"] = dict(self.metadata)
        if self.retry:
            error["retryAfter"] = "1s"
        return {"error": error}


def invalid(reason: str, field: str = "", **metadata: int | str) -> Problem:
    """Return an INVALID_ARGUMENT problem, which the caller must correct."""
    values = {key: str(value) for key, value in metadata.items()}
    return Problem("INVALID_ARGUMENT", reason, field, values)


BAD_ENCODING = invalid("BAD_ENCODING")
EXPIRED = Problem("DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE")
LOADING = Problem("UNAVAILABLE", "LOADING")
DRAINING = Problem("UNAVAILABLE", "DRAINING")
WORKER_LOST = Problem("UNAVAILABLE", "WORKER_LOST")
POISON_INPUT = Problem("INTERNAL", "POISON_INPUT")
DEFECT = Problem("INTERNAL", "INTERNAL", metadata={"id": "*"})
OVERLOADED = Problem("RESOURCE_EXHAUSTED", "OVERLOADED", metadata={"queue_tokens": "*"}, retry=True)
MISSING_CREDENTIALS = Problem("UNAUTHENTICATED", "MISSING_CREDENTIALS")
BAD_CREDENTIALS = Problem("UNAUTHENTICATED", "BAD_CREDENTIALS")
RATE_LIMITED = Problem(
    "RESOURCE_EXHAUSTED", "RATE_LIMITED", metadata={"text_tokens_per_s": "1"}, retry=True
)


def unknown_model(field: str) -> Problem:
    """Return the problem of an unknown model name in a field."""
    return Problem("NOT_FOUND", "UNKNOWN_MODEL", field)
