"""Inputs and results, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from .errors import ClasswireError


@dataclass(frozen=True, slots=True)
class TextInput:
    """A text, or a pair of texts that is classified together."""

    text: str
    text_pair: str | None = None


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One input of a stream, with an id of your own.

    The id has 1 to 128 bytes of UTF-8. No other item that has no result yet may have the same id.
    """

    id: str
    input: str | TextInput


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
    """Everything that scores depend on: the same reference and text give the same scores.

    `precision` is float32, bfloat16, float16 or int8; `execution` is plain or compiled; `layout` is
    packed or padded; `fingerprint` is the SHA-256 over weights, config and tokenizer.
    """

    name: str
    fingerprint: str
    precision: str
    execution: str
    layout: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each stage took on the server, in microseconds, and the size of the text's batch.

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
class TextWindow:
    """One window of a text that is longer than the model.

    `start` and `end` are half-open, over the text (over the pair's second when `sequence_index` is
    1), in the unit asked for: from its first token to its last. `token_count` includes special
    tokens and the other text of a pair. `scores` has every label's, in the order of the label ids;
    it is empty in a `Tokenization`.
    """

    start: int
    end: int
    sequence_index: int
    token_count: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Classification:
    """The scores of one text, highest first; equal scores are in the order of the label ids.

    Attributes:
        scores: One for each label that `top_k` and `min_score` kept.
        activation: softmax, sigmoid or identity.
        token_count: Number of tokens that the model read, special tokens included; the sum over all
            windows.
        truncated_tokens: Number of tokens that were cut off; 0 if the model read the whole text.
        logits: In the order of the label ids; empty unless `include_logits` asked for them.
        tokens: Empty unless `include_tokens` asked for them.
        model: What the scores depend on.
        timing: How long each stage took.
        request_id: The call's `x-request-id`, which the server's log has too. None in a stream,
            where the server sends it only at the end, and where no server sent one.
        windows: In the order of the text; empty unless `include_windows` asked for them.
        window_count: 1 for a text that fits or was cut; 0 from a server that is too old for
            windows.
        aggregation: mean_logits or max_score; None unless there are several windows.
    """

    scores: tuple[LabelScore, ...]
    activation: str
    token_count: int
    truncated_tokens: int
    logits: tuple[float, ...]
    tokens: tuple[Token, ...]
    model: ModelRef
    timing: Timing
    request_id: str | None = field(default=None, compare=False)
    windows: tuple[TextWindow, ...] = ()
    window_count: int = 0
    aggregation: str | None = None

    @property
    def ok(self) -> Literal[True]:
        """True: the text has scores. An error's `ok` is False."""
        return True

    @property
    def error(self) -> None:
        """None. An error's `error` is the error itself."""
        return None

    @property
    def label(self) -> str | None:
        """The label of the highest score; None if no score reached `min_score`."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The highest score; None if no score reached `min_score`."""
        return self.scores[0].score if self.scores else None


Outcome: TypeAlias = Classification | ClasswireError
"""The result of one text of a batch or stream. `ok` and `error` tell the two apart."""


class StreamResult(NamedTuple):
    """The outcome of one input of a stream.

    `index` is the input's position in the iterable, from 0. `id` is the `StreamItem`'s, or the
    index as a decimal string.
    """

    id: str
    index: int  # type: ignore[assignment]  # in place of the tuple's method
    outcome: Outcome


def raise_for_errors(outcomes: Iterable[Outcome | StreamResult]) -> list[Classification]:
    """Raise the first error among the outcomes of a batch or stream; else return them as a list."""
    classifications = []
    for each in outcomes:
        outcome = each.outcome if isinstance(each, StreamResult) else each
        if isinstance(outcome, ClasswireError):
            if isinstance(outcomes, Generator):
                outcomes.close()  # else the error's traceback would keep the stream open
            raise outcome
        classifications.append(outcome)
    return classifications


@dataclass(frozen=True, slots=True)
class Tokenization:
    """The tokens that the model would read.

    `attention_mask` has a 1 for each token that the model attends to; `truncated_tokens` counts the
    tokens that were cut off; `request_id` is as in `Classification`. With `truncation="windows"`,
    `windows` has the windows, and `tokens` those of all windows one after the other.
    """

    tokens: tuple[Token, ...]
    attention_mask: tuple[int, ...]
    truncated_tokens: int
    model: ModelRef
    request_id: str | None = field(default=None, compare=False)
    windows: tuple[TextWindow, ...] = ()


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far this engine's scores are from direct use or float32, measured over `texts` texts."""

    texts: int
    label_agreement: float
    max_score_difference: float


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """The limits of calls to one model.

    Those of windows are None from a server that is too old for them.
    """

    max_texts_per_call: int
    max_texts_per_call_with_tokens: int
    max_text_bytes: int
    stream_window_items: int
    stream_items_per_message: int
    max_windows_per_text: int | None = None
    max_windows_per_call: int | None = None
    max_texts_per_call_with_windows: int | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the server.

    `state` is loading, ready or failed; `failure` says why it failed. `problem_type` is
    single_label_classification, multi_label_classification or regression. `labels` are in the order
    of their ids. `max_tokens` includes special tokens. What the server does not know before the
    model is loaded is None until then, and `labels` is empty. `tasks` are what the checkpoint is
    made for: classify, rank and zero_shot_classify; a hint, which stops no call, and empty from an
    older server.
    """

    name: str
    is_default: bool
    state: str
    failure: str | None
    checkpoint: str
    revision: str | None
    architecture: str | None
    labels: tuple[str, ...]
    problem_type: str | None
    activation: str | None
    max_tokens: int | None
    default_truncation: str | None
    device: str | None
    precision: str | None
    execution: str | None
    layout: str | None
    deviation: Deviation | None
    limits: ModelLimits | None
    fingerprint: str | None
    tasks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """The limits that hold for all models of a server."""

    max_message_bytes: int
    max_streams: int
    default_timeout_s: float


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's version, the names of the contract's features that it has, and its limits."""

    version: str
    features: tuple[str, ...]
    limits: ServerLimits
