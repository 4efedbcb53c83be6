"""A text on its way to the device, and the batch that it goes in."""

import math
from array import array
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from classwire_server.errors import RequestError

if TYPE_CHECKING:
    from classwire_server.engine import Logits
    from classwire_server.tokenization import Encoding

    from .execution import ForwardPass

Key = tuple[bytes, bytes]
"""All that a text's logits depend on within one model: ids and token type ids."""


class Priority(Enum):
    """Which work goes first."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, eq=False)
class Answer:
    """What the engine said of a batch, shared by its texts: each has a row of `logits.values`.

    `began_s` is the instant at which the device began; `batch_texts` and `batch_tokens` are the
    size of the batch.
    """

    logits: "Logits"
    began_s: float
    batch_texts: int
    batch_tokens: int


class TextTrace(Protocol):
    """What texts tell the trace of their call. Called by the thread of one dispatcher, but for
    `refused`, which the thread of the call calls.
    """

    def text_ended(self, text: "Pending") -> None:
        """A text that waited for the engine has its answer or error."""

    def refused(self, error: RequestError) -> None:
        """No text of the call will wait for the engine."""

    def batch_ran(
        self, batch: "Batch", passes: "Sequence[ForwardPass]", taken_s: float, ended_s: float
    ) -> None:
        """A batch with texts of the call ran, between two instants of the monotonic clock.

        One trace is told of each batch, and tells the others that have texts in it.
        """


@dataclass(eq=False, slots=True)
class Pending:
    """One text that waits for the device.

    `deadline_s` is an instant of the monotonic clock, math.inf for none; `flow` is the stream that
    the text belongs to, None for a call's. The text ends once, with an `answer`, in which it has
    the `row`, or an `error`; then it is put into the `inbox` of those who wait for it, in a list
    with others that ended with it. `cached` says that the answer was computed for another text with
    the same key, and `deaths` how often the model's process ended while it held the text. What
    becomes of it is told to `trace`.
    """

    encoding: "Encoding"
    priority: Priority
    inbox: "SimpleQueue[list[Any]]"
    deadline_s: float = math.inf
    flow: Hashable = None
    queued_s: float = 0.0
    answer: Answer | None = None
    row: int = 0
    error: BaseException | None = None
    cached: bool = False
    deaths: int = 0
    key: Key = (b"", b"")
    waits: bool = False
    cost_tokens: int = 0
    trace: TextTrace | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens of the text."""
        return len(self.encoding.ids)

    @property
    def ended(self) -> bool:
        """Whether there is an answer or an error."""
        return self.answer is not None or self.error is not None


@dataclass(eq=False)
class Batch:
    """Texts that are computed together: those with the same key share a row.

    `tokens` is the number of tokens that are computed.
    """

    rows: list[list[Pending]]
    priority: Priority
    tokens: int

    @property
    def begin_by_s(self) -> float:
        """When it has to begin, by the monotonic clock: after that a row is for nobody."""
        return min(
            max((text.deadline_s for text in row if not text.ended), default=math.inf)
            for row in self.rows
        )


def key_of(encoding: "Encoding") -> Key:
    """What a text's logits depend on."""
    return array("i", encoding.ids).tobytes(), bytes(encoding.token_type_ids)


def distinct(texts: Sequence[Pending]) -> Iterator[Pending]:
    """One text of each key, in order."""
    return iter({pending.key: pending for pending in reversed(texts)}.values())
