"""What goes in and what comes back, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .errors import ClasswireError


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or a pair of texts that is classified together."""

    text: str
    text_pair: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An element of a stream with an id of its own: 1 to 128 bytes, unique among the unanswered."""

    id: str
    text: str | Text


@dataclass(frozen=True, slots=True)
class LabelScore:
    """The score of one label, in the scale of the activation; `label_id` counts from 0."""

    label: str
    label_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Token:
    """One position of the model's input.

    `start` and `end` are half-open, over the text (over the pair's second when `sequence_index` is
    1), in the unit asked for. Special tokens stand for no part of a text: both are 0.
    """

    id: int
    text: str
    start: int
    end: int
    special: bool
    token_type_id: int
    sequence_index: int


@dataclass(frozen=True, slots=True)
class ModelRef:
    """All that the numbers depend on: the same reference and text give the same scores.

    `precision` is float32, bfloat16, float16 or int8; `execution` plain or compiled; `layout`
    packed or padded; `fingerprint` is SHA-256 over weights, config and tokenizer.
    """

    name: str
    fingerprint: str
    precision: str
    execution: str
    layout: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in microseconds of the server's clock, and the batch that held the text.

    Where an answer covers several batches, each value is the largest.
    """

    tokenize_us: int
    queue_us: int
    inference_us: int
    total_us: int
    batch_texts: int
    batch_tokens: int
    cached: bool


@dataclass(frozen=True, slots=True)
class Classification:
    """The scores of one text, highest first, ties by label id.

    `activation` is softmax, sigmoid or identity; `token_count` counts what the model saw, special
    tokens included; `truncated_tokens` is 0 when it saw the whole text; `logits` are in the order
    of the label ids; `logits` and `tokens` are empty unless asked for.
    """

    scores: tuple[LabelScore, ...]
    activation: str
    token_count: int
    truncated_tokens: int
    logits: tuple[float, ...]
    tokens: tuple[Token, ...]
    model: ModelRef
    timing: Timing

    @property
    def label(self) -> str:
        """The label of the highest score; LookupError when `min_score` let none through."""
        return self._best.label

    @property
    def score(self) -> float:
        """The highest score; LookupError when `min_score` let none through."""
        return self._best.score

    @property
    def _best(self) -> LabelScore:
        if not self.scores:
            raise LookupError("no score reached min_score")
        return self.scores[0]


Outcome: TypeAlias = Classification | ClasswireError
"""What became of one text of a batch or stream."""


@dataclass(frozen=True, slots=True)
class Tokenization:
    """What the model would see: tokens, 1 for each attended to, and how many were cut off."""

    tokens: tuple[Token, ...]
    attention_mask: tuple[int, ...]
    truncated_tokens: int
    model: ModelRef


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far precision and engine are from plain float32, measured over `texts` texts."""

    texts: int
    label_agreement: float
    max_score_difference: float


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """The limits of calls to one model."""

    max_texts_per_call: int
    max_texts_per_call_with_tokens: int
    max_text_bytes: int
    stream_window_items: int
    stream_items_per_message: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is served. While `state` is loading, only what is known before is set.

    `state` is loading, ready or failed (`failure` says why); `problem_type` is
    single_label_classification, multi_label_classification or regression; `labels` are in the order
    of their ids; `max_tokens` counts special tokens; `deviation` is None until it was measured.
    """

    name: str
    is_default: bool
    state: str
    failure: str
    checkpoint: str
    revision: str
    architecture: str
    labels: tuple[str, ...]
    problem_type: str
    activation: str
    max_tokens: int
    default_truncation: str
    device: str
    precision: str
    execution: str
    layout: str
    deviation: Deviation | None
    limits: ModelLimits
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits that hold for all models of a server."""

    max_message_bytes: int
    max_streams: int
    default_timeout_s: float


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's version, the features of the contract that it has, by name, and its limits."""

    version: str
    features: tuple[str, ...]
    limits: ServerLimits
