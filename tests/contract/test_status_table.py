"""The server's reasons and codes against the table of the contract."""

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]

from classwire.contract.reasons import CODES, Reason
from classwire_server.errors import RequestError
from classwire_server.rpc.status import item_error, status

TABLE = {
    grpc.StatusCode.INVALID_ARGUMENT: (
        "EMPTY_TEXT TEXT_TOO_LARGE TOO_MANY_TOKENS UNKNOWN_ENUM BAD_OPTION TOO_MANY_ITEMS BAD_ID "
        "BAD_STREAM_START BAD_ENCODING UNSUITABLE_MODEL"
    ),
    grpc.StatusCode.NOT_FOUND: "UNKNOWN_MODEL",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "OVERLOADED TOO_MANY_STREAMS RATE_LIMITED",
    grpc.StatusCode.DEADLINE_EXCEEDED: "EXPIRED_IN_QUEUE",
    grpc.StatusCode.UNAVAILABLE: "LOADING DRAINING WORKER_LOST",
    grpc.StatusCode.INTERNAL: "POISON_INPUT INTERNAL",
    grpc.StatusCode.UNAUTHENTICATED: "MISSING_CREDENTIALS BAD_CREDENTIALS",
    grpc.StatusCode.PERMISSION_DENIED: "NOT_ALLOWED",
}


def test_every_reason_has_the_code_of_the_contract() -> None:
    """Every reason has its code in the contract, and there are no others."""
    contract = {reason: code for code, reasons in TABLE.items() for reason in reasons.split()}

    assert {str(reason): grpc.StatusCode[name] for reason, name in CODES.items()} == contract
    assert {str(reason) for reason in Reason} == set(contract)


@pytest.mark.parametrize("reason", Reason)
def test_statuses_and_item_errors_say_the_same(reason: Reason) -> None:
    """A status and an ItemError have the same code, reason, field, metadata and delay."""
    error = RequestError(
        reason, "is wrong", field="a.b", metadata={"limit": "7"}, retry_after_s=1.5
    )

    as_status, as_item = status(error), item_error(error)

    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    assert [d.Unpack(m) for d, m in zip(as_status.details, (info, bad_request, retry), strict=True)]
    assert as_status.code == as_item.code == grpc.StatusCode[CODES[reason]].value[0]
    assert as_status.message == as_item.message == "is wrong"
    assert (info.domain, info.reason, as_item.reason) == ("classwire", reason, reason)
    assert dict(info.metadata) == dict(as_item.metadata) == {"limit": "7"}
    assert bad_request.field_violations[0].field == as_item.field == "a.b"
    assert retry.retry_delay == as_item.retry_after
    assert as_item.retry_after.ToMilliseconds() == 1_500
