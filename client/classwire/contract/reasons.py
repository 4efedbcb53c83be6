"""The reasons of the contract (`ErrorInfo.reason`, `ItemError.reason`) and their status codes.

Codes are names here, so that importing the reasons loads no gRPC.
"""

from collections.abc import Mapping
from enum import StrEnum

DOMAIN = "classwire"
"""`google.rpc.ErrorInfo.domain` of every error that is Classwire's own."""


class Reason(StrEnum):
    """Why a call, or one text of it, failed. Each docstring says when the server uses it."""

    EMPTY_TEXT = "EMPTY_TEXT"
    """The text is missing, empty or only white space, or the tokenizer leaves no token of it."""
    TEXT_TOO_LARGE = "TEXT_TOO_LARGE"
    """The text has more bytes than the model's limit."""
    TOO_MANY_TOKENS = "TOO_MANY_TOKENS"
    """The text has more tokens than the model's limit, for the truncation in force."""
    UNKNOWN_ENUM = "UNKNOWN_ENUM"
    """An enum field has a number that the server does not know."""
    BAD_OPTION = "BAD_OPTION"
    """An option is NaN or out of range, or the model cannot do what it asks: pairs, spans."""
    TOO_MANY_ITEMS = "TOO_MANY_ITEMS"
    """A call, or a message of a stream, has more texts, documents, candidates or windows than the
    limit.
    """
    BAD_ID = "BAD_ID"
    """The id of a stream's item is empty, too long, or already used by an unanswered item."""
    BAD_STREAM_START = "BAD_STREAM_START"
    """A stream did not start with a config, or sent a second one."""
    BAD_ENCODING = "BAD_ENCODING"
    """The bytes are not a message of the contract, or a text is not UTF-8."""
    UNKNOWN_MODEL = "UNKNOWN_MODEL"
    """The server has no model of that name."""
    UNSUITABLE_MODEL = "UNSUITABLE_MODEL"
    """The model cannot serve Rank or ZeroShotClassify: its labels or its pairs are not for it."""
    OVERLOADED = "OVERLOADED"
    """The queue has no room for the text, or the call's other texts leave none for its windows.
    Retry after `retry_after`.
    """
    TOO_MANY_STREAMS = "TOO_MANY_STREAMS"
    """The server has its maximum number of streams. Retry after `retry_after`."""
    RATE_LIMITED = "RATE_LIMITED"
    """The caller is over its rate limit. Retry after `retry_after`."""
    EXPIRED_IN_QUEUE = "EXPIRED_IN_QUEUE"
    """The server's default timeout, or the stream's `item_timeout`, passed before the model ran."""
    LOADING = "LOADING"
    """The model is not loaded yet. Safe to retry."""
    DRAINING = "DRAINING"
    """The server is shutting down, or it is ending the model or this stream. Safe to retry."""
    WORKER_LOST = "WORKER_LOST"
    """The engine's worker process was lost. Safe to retry."""
    POISON_INPUT = "POISON_INPUT"
    """Two worker processes ended while they ran only this text. Never retry it."""
    MISSING_CREDENTIALS = "MISSING_CREDENTIALS"
    """The server requires credentials and the call has none."""
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    """The server does not know the call's credentials."""
    NOT_ALLOWED = "NOT_ALLOWED"
    """The server knows the caller, but the caller lacks the right to do this."""
    INTERNAL = "INTERNAL"
    """A bug in the server, or weights that give NaN. The log line has the metadata's `id`."""


CODES: Mapping[Reason, str] = {
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
            Reason.UNSUITABLE_MODEL,
        ),
        "INVALID_ARGUMENT",
    ),
    Reason.UNKNOWN_MODEL: "NOT_FOUND",
    Reason.OVERLOADED: "RESOURCE_EXHAUSTED",
    Reason.TOO_MANY_STREAMS: "RESOURCE_EXHAUSTED",
    Reason.RATE_LIMITED: "RESOURCE_EXHAUSTED",
    Reason.EXPIRED_IN_QUEUE: "DEADLINE_EXCEEDED",
    Reason.LOADING: "UNAVAILABLE",
    Reason.DRAINING: "UNAVAILABLE",
    Reason.WORKER_LOST: "UNAVAILABLE",
    Reason.POISON_INPUT: "INTERNAL",
    Reason.INTERNAL: "INTERNAL",
    Reason.MISSING_CREDENTIALS: "UNAUTHENTICATED",
    Reason.BAD_CREDENTIALS: "UNAUTHENTICATED",
    Reason.NOT_ALLOWED: "PERMISSION_DENIED",
}
"""The name of the gRPC status code that each reason comes with."""


class AdminReason(StrEnum):
    """Why the admin service did not load, replace or unload a model."""

    MODEL_EXISTS = "MODEL_EXISTS"
    """The server has a model of that name. Reload it instead."""
    BAD_CHECKPOINT = "BAD_CHECKPOINT"
    """The server cannot serve the checkpoint. The message says why."""
    OVER_MEMORY_BUDGET = "OVER_MEMORY_BUDGET"
    """All models together would need more memory than the server's budget."""
    IS_DEFAULT = "IS_DEFAULT"
    """The model is the default model, and `new_default` is empty."""
    CHANGE_IN_PROGRESS = "CHANGE_IN_PROGRESS"
    """Another change of a model is in progress."""


ADMIN_CODES: Mapping[AdminReason, str] = {
    AdminReason.MODEL_EXISTS: "ALREADY_EXISTS",
    AdminReason.BAD_CHECKPOINT: "FAILED_PRECONDITION",
    AdminReason.OVER_MEMORY_BUDGET: "FAILED_PRECONDITION",
    AdminReason.IS_DEFAULT: "FAILED_PRECONDITION",
    AdminReason.CHANGE_IN_PROGRESS: "ABORTED",
}
"""The name of the gRPC status code that each reason of the admin service comes with."""
