"""The stages of a text in the scheduler: pending, in a batch, answered."""

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
"""A text's ids and token type ids: within one model they determine its logits."""


class Priority(Enum):
    """Which work goes first, in this order.

    An interactive call of more texts or windows than fit into one full batch is LARGE. No caller
    asks for it.
    """

    INTERACTIVE = "interactive"
    LARGE = "large"
    BULK = "bulk"

    @property
    def higher(self) -> "Sequence[Priority]":
        """The priorities that go before this one."""
        order = list(Priority)
        return order[: order.index(self)]

    @property
    def yields(self) -> bool:
        """Whether work of this priority lets interactive work go first, even once it runs."""
        return self is not Priority.INTERACTIVE


@dataclass(frozen=True, eq=False)
class Answer:
    """The result of one forward pass, shared by its texts: each has a row of `logits.values`.

    `began_s` is the monotonic instant at which the device began. `batch_texts` and `batch_tokens`
    are the size of the pass; both are 0 for an answer from the cache.
    """

    logits: "Logits"
    began_s: float
    batch_texts: int
    batch_tokens: int


class TextTrace(Protocol):
    """The events of a call's trace.

    A dispatcher's thread calls `text_ended` and `batch_ran`, the call's thread `refused`.
    """

    def text_ended(self, text: "Pending") -> None:
        """A submitted text has its answer or error."""

    def refused(self, error: RequestError) -> None:
        """The dispatcher rejected all texts of the call."""

    def batch_ran(
        self, batch: "Batch", passes: "Sequence[ForwardPass]", taken_s: float, ended_s: float
    ) -> None:
        """A batch with texts of the call ran between two instants of the monotonic clock.

        The dispatcher calls one trace per batch, which informs the others with texts in it.
        """


@dataclass(eq=False, slots=True)
class Pending:
    """One text from its submission to its end.

    `deadline_s` is an instant of the monotonic clock, math.inf for none. `flow` is the stream that
    the text belongs to, None for a call. A text ends once: with an `answer` and its `row` in it, or
    with an `error`. The dispatcher then puts it into `inbox`, in a list with the others of that
    inbox that ended at the same time. `cached` is true if the answer was computed for another text
    with the same key. `is_suspect` is true if the model's process ended while it computed the text;
    the text then runs alone. `is_queued` is true while the text is in the queue, where it costs
    `cost_tokens`: 0 if another queued text with its key pays. `trace` is the trace of its call.
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
    is_suspect: bool = False
    key: Key = (b"", b"")
    is_queued: bool = False
    cost_tokens: int = 0
    trace: TextTrace | None = None

    @property
    def tokens(self) -> int:
        """Number of tokens of the text."""
        return len(self.encoding.ids)

    @property
    def ended(self) -> bool:
        """Whether the text has its answer or error."""
        return self.answer is not None or self.error is not None


@dataclass(eq=False)
class Batch:
    """Texts that are computed together: those with the same key share a row.

    `tokens` counts each row once. An urgent batch does not wait for a lane. If the
    worker ends on a batch with `is_last_trial`, its text becomes poison.
    """

    rows: list[list[Pending]]
    priority: Priority
    tokens: int
    is_urgent: bool = False
    is_last_trial: bool = False

    @property
    def begin_by_s(self) -> float:
        """The monotonic instant at which the deadlines of all texts of some row have passed."""
        return min(
            max((text.deadline_s for text in row if not text.ended), default=math.inf)
            for row in self.rows
        )


def key_of(encoding: "Encoding") -> Key:
    """The key of a text with this encoding."""
    return array("i", encoding.ids).tobytes(), bytes(encoding.token_type_ids)


def distinct(texts: Sequence[Pending]) -> Iterator[Pending]:
    """One text of each key, in order."""
    return iter({pending.key: pending for pending in reversed(texts)}.values())
