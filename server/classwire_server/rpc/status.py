"""Errors in their form on the wire."""

import logging

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from classwire.contract.reasons import ADMIN_CODES, CODES, DOMAIN, AdminReason, Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import BadLogits, Refusal, RequestError

from .call_record import new_defect_id

log = logging.getLogger(__name__)


def request_error(error: BaseException) -> RequestError:
    """The error that the caller gets: a RequestError itself, INTERNAL for anything else.

    INTERNAL carries the id of a log line with the type and place of the defect. Neither holds the
    exception's text, which may quote the input.
    """
    if isinstance(error, RequestError):
        return error
    defect_id = new_defect_id()
    log.error("defect %s: %s at %s", defect_id, type(error).__name__, _place(error))
    what = "a defect of the server"
    if isinstance(error, BadLogits):
        what = "the model's logits for this text are NaN, a defect of its weights or precision"
    return RequestError(
        Reason.INTERNAL, f"{what}, logged as {defect_id}", metadata={"id": defect_id}
    )


def reason_of(error: BaseException | None) -> Reason:
    """The reason of a failure; INTERNAL unless it is a RequestError."""
    return error.reason if isinstance(error, RequestError) else Reason.INTERNAL


def _place(error: BaseException) -> str:
    """Where an error was raised: up to four frames as file:line, innermost last."""
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}")
        traceback = traceback.tb_next
    return " > ".join(frames[-4:]) or "an unknown place"


def duration(seconds: float) -> Duration:
    """A protobuf Duration, rounded to the microsecond."""
    result = Duration()
    result.FromMicroseconds(round(seconds * 1e6))
    return result


def item_error(error: RequestError) -> pb.ItemError:
    """The error of one text of a batch or stream."""
    return pb.ItemError(
        code=_number(error),
        reason=error.reason,
        message=error.message,
        field=error.field,
        metadata=error.metadata,
        retry_after=None if error.retry_after_s is None else duration(error.retry_after_s),
    )


def status(error: Refusal) -> status_pb2.Status:
    """The error of a call: google.rpc.Status with ErrorInfo, and BadRequest and RetryInfo where
    they apply.
    """
    result = status_pb2.Status(code=_number(error), message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    result.details.add().Pack(info)
    if error.field:
        bad_request = error_details_pb2.BadRequest()
        bad_request.field_violations.add(field=error.field, description=error.message)
        result.details.add().Pack(bad_request)
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo(retry_delay=duration(error.retry_after_s))
        result.details.add().Pack(retry)
    return result


def _number(error: Refusal) -> int:
    reason = error.reason
    name = ADMIN_CODES[reason] if isinstance(reason, AdminReason) else CODES[reason]
    number, _ = grpc.StatusCode[name].value
    return int(number)
