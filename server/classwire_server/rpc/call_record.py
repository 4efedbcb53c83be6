"""One call as operators see it: by which id it is found, what it was about, how it ended."""

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
"""The metadata that brings a call's id, and takes it back."""
_WELL_FORMED = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")


class Method(NamedTuple):
    """A method, as `package.Service/Method`, and whether its answer is a stream."""

    name: str
    is_stream: bool


class TextsRead(NamedTuple):
    """Texts of one message, read and tokenized between two instants of the monotonic clock.

    `bad` of them ended with an error while they were read.
    """

    checkpoint: "Checkpoint"
    priority: Priority
    texts: int
    bad: int
    tokens: int
    began_s: float
    ended_s: float


class CallTrace(Protocol):
    """What a call tells its trace. Called by the thread that serves the call."""

    def texts_read(self, read: TextsRead) -> TextTrace | None:
        """The call has read texts; returns the trace of these texts, if they have one."""

    def call_ended(self, record: "CallRecord", code: grpc.StatusCode) -> None:
        """The call has ended with this status."""


@dataclass(slots=True, eq=False)
class CallRecord:
    """What is known of a call so far, by the threads that serve it.

    `began_s` is an instant of the monotonic clock; `reason` is why it fails, empty where it does
    not; `is_done` says that all its answers were given. `caller` is the name of who calls, where
    that is asked; `texts` and `tokens` are those that were read and could be tokenized.
    `defects` numbers those of ours that it met; `trace` is there where it is traced.
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
        """Texts for a model were read."""
        self.model = model
        self.texts += texts
        self.tokens += tokens


RECORD: ContextVar[CallRecord | None] = ContextVar("RECORD", default=None)
"""The call that this context serves."""


def request_id_in(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The id that a call brings, if it is well formed; else a new one."""
    for key, value in metadata:
        if key == REQUEST_ID and isinstance(value, str) and _WELL_FORMED.fullmatch(value):
            return value
    return new_request_id()


def new_request_id() -> str:
    """An id that no other call has."""
    return f"{random.getrandbits(128):032x}"


def current_request_id() -> str:
    """The id of the call that this context serves; empty outside of calls."""
    record = RECORD.get()
    return record.request_id if record is not None else ""


def new_defect_id() -> str:
    """An id for a defect: that of the call that this context serves, and a number."""
    record = RECORD.get()
    return new_request_id() if record is None else f"{record.request_id}-{next(record.defects)}"
