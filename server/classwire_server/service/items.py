"""Tokenizes the texts of a message and waits for their answers, for every kind of call."""

import math
import time
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, Self

from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.call_record import RECORD, TextsRead
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Pending, Priority, TextTrace
from classwire_server.scheduling.model_statistics import Outcome
from classwire_server.security.callers import Caller
from classwire_server.tokenization import Encoding, Text, Tokenized, Windows, tokens_made

from .requests import windows_of

if TYPE_CHECKING:
    from classwire_server.scheduling.dispatcher import Dispatcher

_NO_ENCODING = Encoding([], [], 0, Text(""))


@dataclass(eq=False, slots=True)
class Item(Pending):
    """A text and its encoding; a text that cannot be encoded has ended with its `error`.

    `received_s` is the instant of the monotonic clock at which its message arrived, `tokenize_s`
    how long the message's texts took to tokenize, and `id` the name that a stream gives it. The
    server queues the `windows` of a text of several windows, not the text itself. `layout` says
    where they lie, `windows_left` how many have not ended.
    """

    received_s: float = 0.0
    tokenize_s: float = 0.0
    id: str = ""
    layout: Windows | None = None
    windows: Sequence["WindowItem"] = ()
    windows_left: int = 0

    @property
    def tokens(self) -> int:
        """Number of tokens of the text, or of all its windows."""
        return self.layout.total_tokens if self.layout is not None else len(self.encoding.ids)

    @property
    def parts(self) -> Sequence[Pending]:
        """What is queued for the text: itself, or its windows."""
        return self.windows or (self,)


@dataclass(eq=False, slots=True, kw_only=True)
class WindowItem(Pending):
    """One window of a text, queued by `dispatcher` as a text is."""

    item: Item
    dispatcher: "Dispatcher"


@dataclass(frozen=True, eq=False)
class Submission:
    """Who sent a message, when, and where its items go when they end.

    `received_s` and `deadline_s` are instants of the monotonic clock, math.inf for no deadline.
    `flow` is the stream that the message belongs to, None for a unary call. `ended_items` reads
    `inbox`.
    """

    caller: Caller
    inbox: "SimpleQueue[list[Pending]]"
    received_s: float
    deadline_s: float = math.inf
    flow: Hashable = None

    @classmethod
    def of(cls, call: Call) -> Self:
        """The submission of a unary call."""
        return cls(call.caller, SimpleQueue(), call.received_s, call.deadline_s)


class Request(Protocol):
    """The texts of one message for one model."""

    @property
    def model(self) -> ServedModel:
        """The model that computes them."""
        ...

    @property
    def priority(self) -> Priority:
        """Which work goes first."""
        ...

    def encode(self) -> Sequence[Tokenized]:
        """The input of each text, or the error in its place."""
        ...


def read_items(request: Request, submission: Submission) -> list[Item]:
    """Tokenize the texts of one message together; a bad text never fails another.

    The caller's rate is charged for the texts. Raises RequestError RATE_LIMITED for a unary call of
    a caller over its rate; a stream has waited before.
    """
    began_s = time.monotonic()
    rate, is_unary = submission.caller.rate, submission.flow is None
    if is_unary:
        rate.check(began_s)
    charge = rate.charge if is_unary else rate.take
    try:
        outcomes = request.encode()
    except RequestError as error:
        charge(tokens_made(error), time.monotonic())
        raise
    ended_s = time.monotonic()
    charge(sum(map(tokens_made, outcomes)), ended_s)
    trace = _record(request, outcomes, began_s, ended_s)
    items = []
    for outcome in outcomes:
        item = Item(
            outcome if isinstance(outcome, Encoding) else _NO_ENCODING,
            request.priority,
            submission.inbox,
            submission.deadline_s,
            submission.flow,
            error=request_error(outcome) if isinstance(outcome, Exception) else None,
            trace=trace,
            received_s=submission.received_s,
            tokenize_s=ended_s - began_s,
        )
        if isinstance(outcome, Windows):
            item.layout = outcome
            item.windows = _windows(item, outcome, request.model.dispatcher)
            item.windows_left = len(item.windows)
        items.append(item)
    return items


def _windows(item: Item, layout: Windows, dispatcher: "Dispatcher") -> list[WindowItem]:
    return [
        WindowItem(
            encoding,
            item.priority,
            item.inbox,
            item.deadline_s,
            item.flow,
            trace=item.trace,
            item=item,
            dispatcher=dispatcher,
        )
        for encoding in layout.encodings
    ]


def run(request: Request, call: Call) -> list[Item]:
    """Tokenize the texts of a call and wait until each has ended.

    Raises RequestError as read_items and run_items do.
    """
    items = read_items(request, Submission.of(call))
    try:
        run_items(request.model, items, call)
    except RequestError as error:
        rejected = Outcome(time.monotonic() - call.received_s, reason=error.reason)
        request.model.dispatcher.statistics.count([rejected] * len(items))
        raise
    return items


def run_items(model: ServedModel, items: Sequence[Item], call: Call) -> None:
    """Wait until each text of a call has ended: answered, failed, expired or cancelled.

    Raises RequestError as Dispatcher.submit does.
    """
    left = [item for item in items if not item.ended]
    if not left:
        return
    dispatcher, inbox = model.dispatcher, left[0].inbox
    parts = parts_of(left)
    dispatcher.submit(parts)
    call.when_over(lambda: dispatcher.withdraw(parts))
    ended = 0
    while ended < len(left):
        ended += len(ended_items(inbox.get()))


def parts_of(items: Iterable[Item]) -> list[Pending]:
    """All that is queued for these texts."""
    return [part for item in items for part in item.parts]


def ended_items(parts: Iterable[Pending]) -> list[Item]:
    """The texts that end with these texts and windows, which an inbox has delivered.

    A text ends with its last window, or with the first that has an error: the others are withdrawn.
    Only the thread that reads the inbox may call it.
    """
    items = []
    for part in parts:
        if isinstance(part, Item):
            items.append(part)
        elif isinstance(part, WindowItem) and (item := _ended_by(part)) is not None:
            items.append(item)
    return items


def _ended_by(window: WindowItem) -> Item | None:
    item = window.item
    item.windows_left -= 1
    if item.ended:
        return None
    if window.error is not None:
        item.error = window.error
        window.dispatcher.withdraw(item.windows)
        return item
    if item.windows_left:
        return None
    # The last one, so that the answer names the engine that took over in between.
    item.answer, item.row = window.answer, window.row
    return item


def _record(
    request: Request, outcomes: Sequence[Tokenized], began_s: float, ended_s: float
) -> TextTrace | None:
    """Count the texts in the record of the call, if it has one; returns their trace, if any."""
    record = RECORD.get()
    if record is None:
        return None
    checkpoint, texts = request.model.checkpoint, len(outcomes)
    bad = sum(isinstance(outcome, Exception) for outcome in outcomes)
    tokens = sum(tokens_made(each) for each in outcomes if not isinstance(each, Exception))
    record.texts_read(checkpoint.name, texts, tokens)
    if record.trace is None:
        return None
    return record.trace.texts_read(
        TextsRead(
            checkpoint,
            request.priority,
            texts,
            bad,
            sum(map(windows_of, outcomes)),
            tokens,
            began_s,
            ended_s,
        )
    )
