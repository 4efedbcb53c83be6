"""The reasons of the contract (`ErrorInfo.reason`, `ItemError.reason`) and their status codes."""

from collections.abc import Mapping
from enum import StrEnum

import grpc

DOMAIN = "classwire"
"""`google.rpc.ErrorInfo.domain` of every error that is Classwire's own."""


class Reason(StrEnum):
    """Why a call, or one text of it, failed. Each is documented by when it is used."""

    EMPTY_TEXT = "EMPTY_TEXT"
    """The text is missing, empty or only white space."""
    TEXT_TOO_LARGE = "TEXT_TOO_LARGE"
    """The text has more bytes than the model's limit."""
    TOO_MANY_TOKENS = "TOO_MANY_TOKENS"
    """The text has more tokens than the model takes, and truncation is REJECT."""
    UNKNOWN_ENUM = "UNKNOWN_ENUM"
    """An enum field holds a number that the server does not know."""
    BAD_OPTION = "BAD_OPTION"
    """An option is NaN or out of range."""
    TOO_MANY_ITEMS = "TOO_MANY_ITEMS"
    """A batch, or a message of a stream, holds more items than the limit."""
    BAD_ID = "BAD_ID"
    """The id of a stream's item is empty, too long, or already used by an unanswered item."""
    BAD_STREAM_START = "BAD_STREAM_START"
    """A stream did not start with a config, or sent a second one."""
    BAD_ENCODING = "BAD_ENCODING"
    """The bytes are no message of the contract, or a text is not UTF-8."""
    UNKNOWN_MODEL = "UNKNOWN_MODEL"
    """The server has no model of that name."""
    OVERLOADED = "OVERLOADED"
    """The queue is full; come back after `retry_after`."""
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    """The server has as many streams as it takes; come back after `retry_after`."""
    RATE_LIMITED = "RATE_LIMITED"
    """The caller is over its own rate; come back after `retry_after`."""
    EXPIRED_IN_QUEUE = "EXPIRED_IN_QUEUE"
    """The server's default timeout, or the item's, passed before the model ran."""
    LOADING = "LOADING"
    """The model is not loaded yet. Safe to retry."""
    DRAINING = "DRAINING"
    """The server, or the model, or this stream ends. Safe to retry, here or elsewhere."""
    WORKER_LOST = "WORKER_LOST"
    """The engine's worker went away. Safe to retry."""
    POISON_INPUT = "POISON_INPUT"
    """This text brought the worker down twice. Never retry it."""
    MISSING_CREDENTIALS = "MISSING_CREDENTIALS"
    """The server asks for credentials and the call has none."""
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    """The call's credentials are not known."""
    NOT_ALLOWED = "NOT_ALLOWED"
    """The caller is known, and may not do this."""
    INTERNAL = "INTERNAL"
    """A defect of the server; the metadata's `id` finds the log line."""


CODES: Mapping[Reason, grpc.StatusCode] = {
    **dict.fromkeys(
        (
            Reason.EMPTY_TEXT,
            Reason.TEXT_TOO_LARGE,
            Reason.TOO_MANY_TOKENS,
            Reason.UNKNOWN_ENUM,
            Reason.BAD_OPTION,
            Reason.TOO_MANY_ITEMS,
            Reason.BAD_ID,
            Reason.BAD_STREAM_START,
            Reason.BAD_ENCODING,
        ),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    Reason.UNKNOWN_MODEL: grpc.StatusCode.NOT_FOUND,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_STREAMS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.EXPIRED_IN_QUEUE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.LOADING: grpc.StatusCode.UNAVAILABLE,
    Reason.DRAINING: grpc.StatusCode.UNAVAILABLE,
    Reason.WORKER_LOST: grpc.StatusCode.UNAVAILABLE,
    Reason.POISON_INPUT: grpc.StatusCode.INTERNAL,
    Reason.INTERNAL: grpc.StatusCode.INTERNAL,
    Reason.MISSING_CREDENTIALS: grpc.StatusCode.UNAUTHENTICATED,
    Reason.BAD_CREDENTIALS: grpc.StatusCode.UNAUTHENTICATED,
    Reason.NOT_ALLOWED: grpc.StatusCode.PERMISSION_DENIED,
}
"""The one table of status codes: which one each reason comes with."""
