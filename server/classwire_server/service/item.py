"""Texts on their way through the server, alike for unary calls, batches and streams."""

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from classwire.v1 import classwire_pb2 as pb

from ..errors import RequestError
from ..pending import Pending
from ..registry import ServedModel
from ..tokenization import Encoding, Text
from .messages import Options, parse_text
from .status import request_error

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
    flow: Hashable = None,
) -> list[Item]:
    """Read and tokenize the texts of one message, all at once; a bad one never fails another.

    `field` is the path of an input in the request, with {} for its place; `flow` the stream that
    they belong to, None for a call.
    """
    started_s = time.monotonic()
    texts = [_text(message, model.limits.max_text_bytes) for message in inputs]
    encodings = iter(
        model.tokenization.encode_all(
            [text for text in texts if isinstance(text, Text)],
            options.truncation,
            spans=options.include_tokens,
        )
    )
    read = [next(encodings) if isinstance(text, Text) else text for text in texts]
    tokenize_s = time.monotonic() - started_s
    items = []
    for place, encoding in enumerate(read):
        error = None
        if isinstance(encoding, Exception):
            error = request_error(encoding)
            error.field = error.field and f"{field.format(place)}.{error.field}"
            encoding = _NOTHING
        item = Item(encoding, options.priority, inbox, deadline_s, flow, error=error)
        item.received_s, item.tokenize_s = received_s, tokenize_s
        items.append(item)
    return items


def _text(message: pb.TextInput, max_text_bytes: int) -> Text | Exception:
    try:
        return parse_text(message, max_text_bytes)
    except RequestError as error:
        return error
