"""What logs, metrics and traces know of one call: its id, its texts, its end."""

import itertools
import random
import re
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

import grpc

from classwire_server.scheduling.batch import Priority, TextTrace

if TYPE_CHECKING:
    from classwire_server.checkpoint.loading import Checkpoint

REQUEST_ID = "x-request-id"
"""The metadata key of a call's id, in both directions."""
_WELL_FORMED = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")


class Method(NamedTuple):
    """A method as `package.Service/Method`, and whether its response is a stream."""

    name: str
    is_stream: bool


class TextsRead(NamedTuple):
    """Texts of one message, read and tokenized between two instants of the monotonic clock.

    `bad` counts texts that ended with an error meanwhile, `windows` what was queued of the others:
    texts, or the windows of those that are read in windows.
    """

    checkpoint: "Checkpoint"
    priority: Priority
    texts: int
    bad: int
    windows: int
    tokens: int
    began_s: float
    ended_s: float


class CallTrace(Protocol):
    """Receives the events of one call, on the thread that serves the call."""

    def texts_read(self, read: TextsRead) -> TextTrace | None:
        """Record texts that the call has read; returns their trace, if they have one."""

    def call_ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """Record the status that the call ended with."""


@dataclass(slots=True, eq=False)
class CallRecord:
    """What the server knows of a call so far. The threads that serve the call write it.

    `began_s` is an instant of the monotonic clock. `reason` is why the call fails, else empty.
    `is_done` is true once all responses were given. `caller` is the caller's name, empty without
    authentication. `texts` and `tokens` count what was read and could be tokenized. `defects`
    numbers the server's defects in this call. `trace` is None when the call is not traced.
    """

    method: Method
    request_id: str
    began_s: float = field(default_factory=time.monotonic)
    reason: str = ""
    is_done: bool = False
    caller: str = ""
    model: str = ""
    texts: int = 0
    tokens: int = 0
    defects: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    trace: CallTrace | None = None

    def texts_read(self, model: str, texts: int, tokens: int) -> None:
        """Count texts that were read for a model."""
        self.model = model
        self.texts += texts
        self.tokens += tokens


RECORD: ContextVar[CallRecord | None] = ContextVar("RECORD", default=None)
"""The record of this context's call."""


def request_id_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The id in a call's metadata when it is well formed, else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _WELL_FORMED.fullmatch(value):
            return value
    return new_request_id()


def new_request_id() -> str:
    """An id that no other call has."""
    return f"{random.getrandbits(128):032x}"


def current_request_id() -> str:
    """The id of this context's call; empty outside of calls."""
    record = RECORD.get()
    return record.request_id if record is not None else ""


def new_defect_id() -> str:
    """An id for a defect: the id of this context's call, and a number."""
    record = RECORD.get()
    return new_request_id() if record is None else f"{record.request_id}-{next(record.defects)}"
