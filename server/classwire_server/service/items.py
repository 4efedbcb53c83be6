"""Texts on their way through the server, alike for unary calls, batches and streams."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.call_record import RECORD, TextsRead
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Pending
from classwire_server.security.callers import Caller
from classwire_server.tokenization import Encoding, Text, tokens_made

from .requests import Options, parse_text

_NOTHING = Encoding([], [], 0, Text(""))


@dataclass(eq=False, slots=True)
class Item(Pending):
    """A text that has been read; one that can't be has ended with its `error`.

    `received_s` is the instant of the monotonic clock at which its message came, `tokenize_s` how
    long reading and tokenizing took, and `id` what a stream calls it.
    """

    received_s: float = 0.0
    tokenize_s: float = 0.0
    id: str = ""


def read_items(
    model: ServedModel,
    options: Options,
    inputs: Sequence[pb.TextInput],
    field: str,
    inbox: "SimpleQueue[list[Item]]",
    received_s: float,
    deadline_s: float,
    caller: Caller,
    flow: Hashable = None,
) -> list[Item]:
    """Read and tokenize the texts of one message, all at once; a bad one never fails another.

    `field` is the path of a text in the request, with {place} for that of its input, and {name} for
    text or text_pair; `flow` the stream that they belong to, None for a call. The texts are taken
    from the rate of `caller`. Raises RequestError RATE_LIMITED for a call of one who is over it; a
    stream has waited.
    """
    started_s = time.monotonic()
    if flow is None:
        caller.rate.check(started_s)
    texts = [_text(message, model.limits.max_text_bytes) for message in inputs]
    encodings = iter(
        model.tokenization.encode_all(
            [text for text in texts if isinstance(text, Text)],
            options.truncation,
            spans=options.include_tokens,
        )
    )
    read = [next(encodings) if isinstance(text, Text) else text for text in texts]
    now_s = time.monotonic()
    tokenize_s = now_s - started_s
    tokens = sum(len(each.ids) for each in read if isinstance(each, Encoding))
    pay = caller.rate.charge if flow is None else caller.rate.take
    pay(sum(map(tokens_made, read)), now_s)
    trace = None
    if (record := RECORD.get()) is not None:
        record.texts_read(model.checkpoint.name, len(read), tokens)
        if record.trace is not None:
            bad = sum(isinstance(each, Exception) for each in read)
            trace = record.trace.texts_read(
                TextsRead(
                    model.checkpoint, options.priority, len(read), bad, tokens, started_s, now_s
                )
            )
    items = []
    for place, encoding in enumerate(read):
        error = None
        if isinstance(encoding, Exception):
            error = request_error(encoding)
            error.field = error.field and field.format(place=place, name=error.field)
            encoding = _NOTHING
        item = Item(encoding, options.priority, inbox, deadline_s, flow, error=error)
        item.received_s, item.tokenize_s, item.trace = received_s, tokenize_s, trace
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


def _text(message: pb.TextInput, max_text_bytes: int) -> Text | Exception:
    try:
        return parse_text(message, max_text_bytes)
    except RequestError as error:
        return error
