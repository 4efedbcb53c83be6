"""Plans of a run, and names of engines and calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from .checkpoints import BERT_BASE, BERT_SLICE, Shape

PRECISIONS = ("float32", "bfloat16", "int8")
PADDED, SORTED = "transformers, padded", "transformers, sorted"
FLOAT32, FLOAT32_COMPILED = "packed float32, plain", "packed float32, compiled"
DETERMINISTIC = "packed float32, deterministic"
BFLOAT16 = "packed bfloat16, plain"
INT8, INT8_COMPILED = "packed int8, plain", "packed int8, compiled"
ENGINES = (
    PADDED,
    SORTED,
    "transformers, one by one",
    "onnx by 8",
    "onnx one by one",
    FLOAT32,
    FLOAT32_COMPILED,
    DETERMINISTIC,
    BFLOAT16,
    INT8,
    INT8_COMPILED,
)


@dataclass(frozen=True)
class Call:
    """A shape of load: `in_flight` texts in flight until `texts` are answered."""

    shape: str
    in_flight: int
    texts: int


STREAM_32 = "stream, 32 items a message"
BIG_CALLS = (
    Call("batch", 64, 128),
    Call("stream, 1 item a message", 64, 128),
    Call(STREAM_32, 64, 128),
)
LATENCY_CALLS = tuple(Call("unary", n, max(24, 3 * n)) for n in (1, 2, 4, 8, 16, 32))
SMALL_CALLS = (
    Call("unary", 1, 512),
    Call("unary", 32, 4_096),
    Call("batch", 64, 8_192),
    Call("stream, 1 item a message", 64, 4_096),
    Call(STREAM_32, 128, 16_384),
)
CLIENT_CALLS = (Call("Client, unary", 32, 2_048), Call("Client, stream", 256, 8_192))
BARE_IMPORT = "import torch; from transformers import BertForSequenceClassification"
"""What a start is compared with, in a new interpreter."""
FEWER = 8
"""Divisor of the number of texts, for short runs and for longer texts."""


@dataclass(frozen=True)
class Plan:
    """The extent of a run: full, or short enough for two minutes.

    Windows, Rank and zero-shot take `turns` with batches in each round, fewer on a slow processor.
    """

    name: str
    shape: Shape
    rounds: int
    engine_texts: int
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    is_short: bool
    turns: int
    interactive_calls: int

    def calls(self, calls: Sequence[Call]) -> tuple[Call, ...]:
        """Return the calls, reduced if the plan is short."""
        return fewer(calls) if self.is_short else tuple(calls)


def fewer(calls: Sequence[Call]) -> tuple[Call, ...]:
    """Return the calls with fewer texts."""
    return tuple(Call(c.shape, c.in_flight, max(64, c.texts // FEWER)) for c in calls)


FULL = Plan(
    "full",
    BERT_BASE,
    3,
    64,
    ENGINES,
    PRECISIONS,
    is_short=False,
    turns=4,
    interactive_calls=200,
)
SHORT = Plan(
    "short",
    BERT_SLICE,
    1,
    40,
    (PADDED, SORTED, FLOAT32, FLOAT32_COMPILED, INT8, INT8_COMPILED),
    ("float32", "int8"),
    is_short=True,
    turns=5,
    interactive_calls=200,
)
