"""Tokenizes the texts of a message and waits for their answers, for every kind of call."""

import math
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Self

from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.call_record import RECORD, TextsRead
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Pending, TextTrace
from classwire_server.security.callers import Caller
from classwire_server.tokenization import Encoding, Text, tokens_made

from .requests import ClassifyRequest

_NO_ENCODING = Encoding([], [], 0, Text(""))


@dataclass(eq=False, slots=True)
class Item(Pending):
    """A text and its encoding; a text that cannot be encoded has ended with its `error`.

    `received_s` is the instant of the monotonic clock at which its message arrived, `tokenize_s`
    how long the message's texts took to tokenize, and `id` the name that a stream gives it.
    """

    received_s: float = 0.0
    tokenize_s: float = 0.0
    id: str = ""


@dataclass(frozen=True, eq=False)
class Submission:
    """Who sent a message, when, and where its items go when they end.

    `received_s` and `deadline_s` are instants of the monotonic clock, math.inf for no deadline.
    `flow` is the stream that the message belongs to, None for a unary call.
    """

    caller: Caller
    inbox: "SimpleQueue[list[Item]]"
    received_s: float
    deadline_s: float = math.inf
    flow: Hashable = None

    @classmethod
    def of(cls, call: Call) -> Self:
        """The submission of a unary call."""
        return cls(call.caller, SimpleQueue(), call.received_s, call.deadline_s)


def read_items(request: ClassifyRequest, submission: Submission, field: str) -> list[Item]:
    """Tokenize the texts of one message together; a bad text never fails another.

    `field` is the path of a text in the message, with {place} for the index of its input and {name}
    for text or text_pair. The caller's rate is charged for the texts. Raises RequestError
    RATE_LIMITED for a unary call of a caller over its rate; a stream has waited before.
    """
    began_s = time.monotonic()
    rate, is_unary = submission.caller.rate, submission.flow is None
    if is_unary:
        rate.check(began_s)
    encodings = _encode(request)
    ended_s = time.monotonic()
    charge = rate.charge if is_unary else rate.take
    charge(sum(map(tokens_made, encodings)), ended_s)
    trace = _record(request, encodings, began_s, ended_s)
    items = []
    for place, encoding in enumerate(encodings):
        error = None
        if isinstance(encoding, Exception):
            error = request_error(encoding)
            error.field = error.field and field.format(place=place, name=error.field)
            encoding = _NO_ENCODING
        item = Item(
            encoding,
            request.options.priority,
            submission.inbox,
            submission.deadline_s,
            submission.flow,
            error=error,
            trace=trace,
            received_s=submission.received_s,
            tokenize_s=ended_s - began_s,
        )
        items.append(item)
    return items


def run_items(model: ServedModel, items: Sequence[Item], call: Call) -> None:
    """Wait until each text of a call has ended: answered, failed, expired or cancelled.

    Raises RequestError as Dispatcher.submit does.
    """
    left = [item for item in items if not item.ended]
    if not left:
        return
    dispatcher, inbox = model.dispatcher, left[0].inbox
    dispatcher.submit(left)
    call.when_over(lambda: dispatcher.withdraw(left))
    ended = 0
    while ended < len(left):
        ended += len(inbox.get())


def _encode(request: ClassifyRequest) -> list[Encoding | Exception]:
    """The encoding of each text, or the error in its place."""
    options = request.options
    encodings = iter(
        request.model.tokenization.encode_all(
            [text for text in request.texts if isinstance(text, Text)],
            options.truncation,
            spans=options.include_tokens,
        )
    )
    return [next(encodings) if isinstance(text, Text) else text for text in request.texts]


def _record(
    request: ClassifyRequest,
    encodings: Sequence[Encoding | Exception],
    began_s: float,
    ended_s: float,
) -> TextTrace | None:
    """Count the texts in the record of the call, if it has one; returns their trace, if any."""
    record = RECORD.get()
    if record is None:
        return None
    checkpoint, texts = request.model.checkpoint, len(encodings)
    good = [encoding for encoding in encodings if isinstance(encoding, Encoding)]
    tokens = sum(len(encoding.ids) for encoding in good)
    record.texts_read(checkpoint.name, texts, tokens)
    if record.trace is None:
        return None
    priority, bad = request.options.priority, texts - len(good)
    return record.trace.texts_read(
        TextsRead(checkpoint, priority, texts, bad, tokens, began_s, ended_s)
    )
