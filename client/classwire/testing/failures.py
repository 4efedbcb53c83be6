"""Errors and trailers as a real server sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import uuid4

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from classwire.contract import reasons
from classwire.contract.reasons import DOMAIN, Reason
from classwire.v1 import classwire_pb2 as pb

CODES: Mapping[Reason, grpc.StatusCode] = {
    reason: grpc.StatusCode[name] for reason, name in reasons.CODES.items()
}
"""The status code that each reason comes with."""
_REQUEST_ID = "x-request-id"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of the fake server: the status of a call, or the outcome of one text."""

    reason: Reason
    retry_after_s: float | None = None

    @property
    def message(self) -> str:
        """The error's message."""
        return f"the fake server was told to fail with {self.reason}"

    def item_error(self, field: str) -> pb.ItemError:
        """The error of one text, at this path."""
        error = pb.ItemError(
            code=CODES[self.reason].value[0],
            reason=self.reason,
            message=self.message,
            field=field,
        )
        if self.retry_after_s is not None:
            error.retry_after.FromNanoseconds(round(self.retry_after_s * 1e9))
        return error

    def abort(self, context: grpc.ServicerContext, field: str = "") -> NoReturn:
        """End a call with the status, details and trailers of a real server."""
        details: list[Any] = [error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN)]
        if field:
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=field, description=self.message, reason=self.reason
            )
            details.append(error_details_pb2.BadRequest(field_violations=[violation]))
        if self.retry_after_s is not None:
            retry_info = error_details_pb2.RetryInfo()
            retry_info.retry_delay.FromNanoseconds(round(self.retry_after_s * 1e9))
            details.append(retry_info)
        code = CODES[self.reason]
        status = status_pb2.Status(code=code.value[0], message=self.message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        details_bin = ("grpc-status-details-bin", status.SerializeToString())
        context.set_trailing_metadata((*trailers(context), details_bin))
        context.abort(code, self.message)


def trailers(context: grpc.ServicerContext) -> tuple[tuple[str, str | bytes], ...]:
    """The id of a call: the caller's `x-request-id`, or a new one."""
    metadata = dict(context.invocation_metadata())
    return ((_REQUEST_ID, metadata.get(_REQUEST_ID) or uuid4().hex),)
