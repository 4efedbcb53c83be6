"""Each status and each reason has one error class, which keeps all details from the server."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

import classwire
from classwire import (
    CancelledError,
    ClasswireError,
    DeadlineExceededError,
    InternalError,
    InvalidInputError,
    MessageTooLargeError,
    OverloadedError,
    PermissionDeniedError,
    PoisonInputError,
    Reason,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownModelError,
    UnusableClientError,
    errors,
)
from classwire._calls import responses
from classwire._calls.requests import LONGEST_TIME_S
from classwire._calls.retry import FIRST_PAUSE_S, Retry
from classwire._calls.status import from_item_error, from_status
from classwire.testing import CODES, FakeServer
from classwire.v1 import classwire_pb2 as pb

MakeClient = Callable[..., Any]

BY_CODE = {
    grpc.StatusCode.OK: InternalError,
    grpc.StatusCode.CANCELLED: CancelledError,
    grpc.StatusCode.UNKNOWN: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInputError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.NOT_FOUND: UnknownModelError,
    grpc.StatusCode.ALREADY_EXISTS: InternalError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: MessageTooLargeError,
    grpc.StatusCode.FAILED_PRECONDITION: InternalError,
    grpc.StatusCode.ABORTED: InternalError,
    grpc.StatusCode.OUT_OF_RANGE: InternalError,
    grpc.StatusCode.UNIMPLEMENTED: UnimplementedError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
}

BY_REASON = {
    Reason.EMPTY_TEXT: InvalidInputError,
    Reason.TEXT_TOO_LARGE: InvalidInputError,
    Reason.TOO_MANY_TOKENS: InvalidInputError,
    Reason.UNKNOWN_ENUM: InvalidInputError,
    Reason.BAD_OPTION: InvalidInputError,
    Reason.TOO_MANY_ITEMS: InvalidInputError,
    Reason.BAD_ID: InvalidInputError,
    Reason.BAD_STREAM_START: InvalidInputError,
    Reason.BAD_ENCODING: InvalidInputError,
    Reason.UNSUITABLE_MODEL: InvalidInputError,
    Reason.UNKNOWN_MODEL: UnknownModelError,
    Reason.OVERLOADED: OverloadedError,
    Reason.TOO_MANY_STREAMS: OverloadedError,
    Reason.RATE_LIMITED: OverloadedError,
    Reason.EXPIRED_IN_QUEUE: DeadlineExceededError,
    Reason.LOADING: UnavailableError,
    Reason.DRAINING: UnavailableError,
    Reason.WORKER_LOST: UnavailableError,
    Reason.POISON_INPUT: PoisonInputError,
    Reason.MISSING_CREDENTIALS: UnauthenticatedError,
    Reason.BAD_CREDENTIALS: UnauthenticatedError,
    Reason.NOT_ALLOWED: PermissionDeniedError,
    Reason.INTERNAL: InternalError,
}


def details(*messages: Any) -> bytes:
    """Return the bytes of a google.rpc.Status with these details."""
    status = status_pb2.Status()
    for message in messages:
        packed = any_pb2.Any()
        packed.Pack(message)
        status.details.append(packed)
    serialized: bytes = status.SerializeToString()
    return serialized


def test_every_code_has_its_class() -> None:
    """Each gRPC status code has its class when gRPC itself raises it, without a reason."""
    made = {code: type(from_status(code, "", None)) for code in grpc.StatusCode}
    assert made == BY_CODE


def test_every_reason_has_its_class_in_a_call(make_client: MakeClient, server: FakeServer) -> None:
    """Each reason in a call's status has its class."""
    client = make_client(server.target, retry=False)
    made = {}
    for reason in Reason:
        server.fail_next(reason)
        with pytest.raises(ClasswireError) as raised:
            client.classify("text")
        assert raised.value.reason is reason
        assert raised.value.code is CODES[reason]
        made[reason] = type(raised.value)
    assert made == BY_REASON


def test_every_reason_has_its_class_in_an_outcome(
    make_client: MakeClient, server: FakeServer
) -> None:
    """Each reason in a text's error has the same class as in a call's status."""
    client = make_client(server.target, retry=False)
    for reason in Reason:
        server.fail_text(str(reason), reason)
    outcomes = client.classify_batch([str(reason) for reason in Reason])
    assert dict(zip(Reason, map(type, outcomes), strict=True)) == BY_REASON
    assert [outcome.reason for outcome in outcomes] == list(Reason)


def test_all_details_of_a_status_come_through() -> None:
    """The error has reason and metadata from ErrorInfo, field from BadRequest, wait from
    RetryInfo.
    """
    info = error_details_pb2.ErrorInfo(
        reason="TOO_MANY_TOKENS", domain="classwire", metadata={"max_tokens": "512"}
    )
    violation = error_details_pb2.BadRequest.FieldViolation(field="input.text")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    bad_request = error_details_pb2.BadRequest(field_violations=[violation])
    error = from_status(
        grpc.StatusCode.INVALID_ARGUMENT, "too long", details(info, bad_request, retry)
    )
    assert type(error) is InvalidInputError
    assert error.reason is Reason.TOO_MANY_TOKENS
    assert error.message == "too long"
    assert error.field == "input.text"
    assert error.metadata == {"max_tokens": "512"}
    assert error.retry_after_s == 1.5


def test_all_fields_of_an_item_error_come_through() -> None:
    """The error has all fields of an ItemError."""
    item = pb.ItemError(
        code=8, reason="OVERLOADED", message="full", field="input", metadata={"queue": "9"}
    )
    item.retry_after.FromMilliseconds(250)
    error = from_item_error(item)
    assert type(error) is OverloadedError
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.OVERLOADED)
    assert (error.message, error.field, error.metadata) == ("full", "input", {"queue": "9"})
    assert error.retry_after_s == 0.25


def test_a_wait_comes_through_a_call(make_client: MakeClient, server: FakeServer) -> None:
    """RetryInfo in the trailers becomes retry_after_s."""
    client = make_client(server.target, retry=False)
    server.fail_next(Reason.OVERLOADED, retry_after_s=0.75)
    with pytest.raises(OverloadedError) as raised:
        client.classify("text")
    assert raised.value.retry_after_s == 0.75


def test_an_unknown_reason_stays_a_string() -> None:
    """An unknown reason stays a string, and the code decides the class."""
    info = error_details_pb2.ErrorInfo(reason="TOO_FUNNY", domain="classwire")
    error = from_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "", details(info))
    assert type(error) is OverloadedError
    assert error.reason == "TOO_FUNNY"
    assert type(from_item_error(pb.ItemError(code=99, reason="ODD"))) is InternalError


@pytest.mark.parametrize(
    ("field", "number", "told"),
    [
        ("options.truncation", "4", "it does not know truncation 'windows'"),
        ("config.options.windows.aggregation", "2", "it does not know aggregation 'max_score'"),
        ("config.ordering", "7", "7 is not a known value"),
        ("options.truncation", "", "7 is not a known value"),
    ],
)
def test_a_value_that_the_server_does_not_know(field: str, number: str, told: str) -> None:
    """The client sent the value, so the server is older; the message has the caller's word."""
    info = error_details_pb2.ErrorInfo(
        domain="classwire", reason=Reason.UNKNOWN_ENUM, metadata={"value": number}
    )
    violation = error_details_pb2.BadRequest.FieldViolation(field=field)
    told_by_server = details(info, error_details_pb2.BadRequest(field_violations=[violation]))
    error = from_status(grpc.StatusCode.INVALID_ARGUMENT, "7 is not a known value", told_by_server)
    assert error.message == f"the server is older than this client: {told}"
    assert (type(error), error.field) == (InvalidInputError, field)


def test_a_reason_of_another_domain_is_ignored() -> None:
    """An ErrorInfo of another domain, which a proxy may add, gives no reason."""
    info = error_details_pb2.ErrorInfo(reason="POISON_INPUT", domain="example.com")
    error = from_status(grpc.StatusCode.INTERNAL, "", details(info))
    assert type(error) is InternalError
    assert error.reason is None


def test_details_win_over_the_code() -> None:
    """The code in the details wins over gRPC's, which is CANCELLED when a proxy resets the
    stream.
    """
    info = error_details_pb2.ErrorInfo(reason="BAD_ID", domain="classwire")
    status = status_pb2.Status(code=3, message="no id")
    status.details.add().Pack(info)
    error = from_status(
        grpc.StatusCode.CANCELLED, "Received RST_STREAM", status.SerializeToString()
    )
    assert type(error) is InvalidInputError
    assert (error.code, error.message) == (grpc.StatusCode.INVALID_ARGUMENT, "no id")


def test_details_that_are_no_status_are_passed_over() -> None:
    """Trailers that are not a google.rpc.Status leave the code as it is."""
    error = from_status(grpc.StatusCode.UNAVAILABLE, "gone", b"\xff\xff\xff")
    assert type(error) is UnavailableError
    assert error.message == "gone"


@pytest.mark.parametrize("kind", ["ErrorInfo", "BadRequest", "RetryInfo"])
def test_a_detail_that_cannot_be_read_is_passed_over(kind: str) -> None:
    """A malformed detail is skipped; code, message and the other details stay."""
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="classwire")
    status = status_pb2.Status(code=8, message="full")
    status.details.add().Pack(info)
    status.details.add(type_url=f"type.googleapis.com/google.rpc.{kind}", value=b"\xff\xff")
    error = from_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", status.SerializeToString())
    assert type(error) is OverloadedError
    assert (error.reason, error.message) == (Reason.OVERLOADED, "full")
    assert (error.field, error.retry_after_s) == (None, None)


@pytest.mark.parametrize("seconds", [10**15, -(10**15), -5])
def test_odd_durations_come_through(seconds: int) -> None:
    """The client accepts any duration from a server, and waits no time for a negative one."""
    duration = duration_pb2.Duration(seconds=seconds)
    info = error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="classwire")
    retry_info = error_details_pb2.RetryInfo(retry_delay=duration)
    of_call = from_status(grpc.StatusCode.RESOURCE_EXHAUSTED, "", details(info, retry_info))
    of_item = from_item_error(pb.ItemError(code=8, reason="OVERLOADED", retry_after=duration))
    limits = pb.ServerLimits(default_timeout=duration)
    said = responses.server_info(pb.GetServerInfoResponse(limits=limits))
    assert of_call.retry_after_s == of_item.retry_after_s == seconds
    assert said.limits.default_timeout_s == seconds
    pause_s = Retry(True, lambda: 1.0).pause_s(of_call, None)
    assert pause_s == min(max(seconds, 0), LONGEST_TIME_S) + FIRST_PAUSE_S


@pytest.mark.parametrize("kind", [getattr(classwire, name) for name in errors.__all__])
def test_errors_pickle_and_copy(kind: type[ClasswireError]) -> None:
    """Every error class keeps all its fields through pickle and copy."""
    error = kind(
        "no",
        reason=Reason.LOADING,
        field="inputs[3].text",
        metadata={"a": "b"},
        retry_after_s=2.0,
        unanswered=("1", "2"),
    )
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert vars(again) == vars(error)
        assert str(again) == str(error)


def test_an_error_is_one_line() -> None:
    """`str` of an error is one line of reason (or code), message and field."""
    error = InvalidInputError("too\n long", reason=Reason.TOO_MANY_TOKENS, field="input.text")
    assert str(error) == "TOO_MANY_TOKENS: too long (input.text)"
    assert str(UnavailableError("nobody there")) == "UNAVAILABLE: nobody there"
    assert (
        str(InvalidInputError("input.text is empty", field="input.text")).count("input.text") == 1
    )


def test_errors_are_also_pythons_own() -> None:
    """Errors also subclass the matching built-in exception."""
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(DeadlineExceededError, TimeoutError)
    assert issubclass(UnusableClientError, RuntimeError)
    assert issubclass(PoisonInputError, InternalError)


def test_the_tree_is_drawn_as_it_is() -> None:
    """The class tree in the module's docstring has every class, and no other."""
    drawn = {
        line.split("── ")[-1].split()[0]
        for line in (errors.__doc__ or "").splitlines()
        if "── " in line
    }
    assert drawn | {"ClasswireError"} == set(errors.__all__)
