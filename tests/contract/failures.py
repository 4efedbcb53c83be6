"""The errors that callers get, in one form for statuses and for ItemErrors."""

import dataclasses
from collections.abc import Callable

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from classwire.v1 import classwire_pb2 as pb

SECRET = "ꙮxylomancyꙮ"
"""A word that occurs only in callers' texts; the tokenizers do not know it."""

MAX_DETAILS_BYTES = 2_048


@dataclasses.dataclass(frozen=True)
class Failure:
    """An error with the details of the contract; comparison ignores message and delay."""

    code: grpc.StatusCode
    reason: str
    field: str = ""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    can_retry_later: bool = False
    message: str = dataclasses.field(default="", compare=False)
    retry_after_s: float = dataclasses.field(default=0.0, compare=False)


def invalid(reason: str, field: str = "", **metadata: str) -> Failure:
    """An INVALID_ARGUMENT failure."""
    return Failure(grpc.StatusCode.INVALID_ARGUMENT, reason, field, metadata)


def refusal(call: Callable[[], object]) -> Failure:
    """The failure of a call, which must fail with one of Classwire's own errors."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return failure_of(caught.value)


def failure_of(error: grpc.RpcError) -> Failure:
    """The failure in a status; checks the rules for every status of Classwire."""
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    assert status is not None, f"no details: {error}"
    assert "xylomancy" not in f"{error} {status} {error.trailing_metadata()}".lower()
    assert status.ByteSize() < MAX_DETAILS_BYTES
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    unpacked = [
        (kind, detail)
        for detail in status.details
        for kind in (info, violations, retry)
        if detail.Unpack(kind)
    ]
    assert len(unpacked) == len(status.details), "an unknown detail, or two of one kind"
    assert info.domain == "classwire"
    fields = [violation.field for violation in violations.field_violations]
    assert len(fields) <= 1
    assert all(violation.description for violation in violations.field_violations)
    assert error.details()
    return Failure(
        error.code(),
        info.reason,
        "".join(fields),
        dict(info.metadata),
        any(kind is retry for kind, _ in unpacked),
        message=error.details() or "",
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds(),
    )


def reason_in(error: grpc.RpcError) -> str:
    """The reason in a status's details, whatever its code: a proxy that resets the call behind the
    trailers replaces the code.
    """
    assert isinstance(error, grpc.Call)
    details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    assert isinstance(details, bytes)
    info = error_details_pb2.ErrorInfo()
    assert any(each.Unpack(info) for each in status_pb2.Status.FromString(details).details)
    return str(info.reason)


def item_failure(outcome: pb.Outcome) -> Failure:
    """The failure of one text; checks the rules for every ItemError."""
    assert outcome.WhichOneof("outcome") == "error", outcome
    error = outcome.error
    assert "xylomancy" not in str(error).lower()
    assert error.message
    return Failure(
        next(code for code in grpc.StatusCode if code.value[0] == error.code),
        error.reason,
        error.field,
        dict(error.metadata),
        error.HasField("retry_after"),
        message=error.message,
        retry_after_s=error.retry_after.ToTimedelta().total_seconds(),
    )
