"""A line for each call that has ended, where it is asked for."""

import logging
import time

import grpc

from .rpc.call_record import CallRecord

log = logging.getLogger(__name__)


def write(record: CallRecord, code: grpc.StatusCode) -> None:
    """Write the line of a call."""
    log.info(
        "call ended",
        extra={
            "request_id": record.request_id,
            "method": record.method.name,
            "code": code.name,
            "reason": record.reason,
            "duration_ms": round(1e3 * (time.monotonic() - record.began_s), 3),
            "caller": record.caller,
            "model": record.model,
            "texts": record.texts or None,
            "tokens": record.tokens or None,
        },
    )
