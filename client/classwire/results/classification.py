"""Texts and their classifications."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from classwire.errors import ClasswireError

from .display import Result


@dataclass(frozen=True, slots=True)
class TextInput:
    """A text, or a pair of texts that is classified together.

    Attributes:
        text: The text, or the first of the pair.
        text_pair: The second text of the pair; None if there is none.
    """

    text: str
    text_pair: str | None = None


@dataclass(frozen=True, slots=True)
class StreamItem:
    """One input of a stream, with an id of your own.

    Attributes:
        id: 1 to 128 bytes of UTF-8. No other item that has no result yet may have the same id.
        input: The text or pair.
    """

    id: str
    input: str | TextInput


@dataclass(frozen=True, slots=True, repr=False)
class LabelScore(Result):
    """The score of one label.

    Attributes:
        label: The label's name.
        label_id: The label's place in the model's labels, from 0.
        score: In the scale of the activation: 0 to 1 for softmax and sigmoid.
    """

    label: str
    label_id: int
    score: float

    def _brief(self) -> str:
        return f"{self.label!r} {self.score:.4g}"


@dataclass(frozen=True, slots=True, repr=False)
class Token(Result):
    """One position of the model's input.

    Attributes:
        id: The token's id in the vocabulary.
        text: The vocabulary's entry, such as `##ing`.
        start: Where the token starts in its text, in the unit asked for; 0 for special tokens.
        end: Where it ends, exclusive, in the same unit; 0 for special tokens.
        special: Whether the tokenizer added it: it is no part of a text.
        token_type_id: The type that the model receives; 0 where the model takes none.
        sequence_index: 0 for the text, 1 for the second text of a pair.
    """

    id: int
    text: str
    start: int
    end: int
    special: bool
    token_type_id: int
    sequence_index: int

    def _brief(self) -> str:
        return repr(self.text)


@dataclass(frozen=True, slots=True, repr=False)
class ModelRef(Result):
    """Everything that scores depend on: the same reference and text give the same scores.

    Attributes:
        name: The model's name.
        fingerprint: SHA-256 over weights, config and tokenizer, as 64 hexadecimal digits.
        precision: float32, bfloat16, float16 or int8.
        execution: plain or compiled.
        layout: packed (all texts in one row) or padded (a row for each text; rows of one length
            together).
    """

    name: str
    fingerprint: str
    precision: str
    execution: str
    layout: str

    def _brief(self) -> str:
        return repr(self.name)


@dataclass(frozen=True, slots=True, repr=False)
class Timing(Result):
    """How long each stage took on the server, and the size of the text's batch.

    Where an answer covers several batches, each value is the largest.

    Attributes:
        tokenize_us: Microseconds in the tokenizer.
        queue_us: Microseconds in the queue.
        inference_us: Microseconds in the model.
        total_us: Microseconds from the server's receipt of the request to its answer.
        batch_texts: Number of texts, each window counting as one, that the model read together.
        batch_tokens: Number of their tokens.
        cached: Whether it came from the cache, or from an equal text that was in the queue.
    """

    tokenize_us: int
    queue_us: int
    inference_us: int
    total_us: int
    batch_texts: int
    batch_tokens: int
    cached: bool


@dataclass(frozen=True, slots=True, repr=False)
class TextWindow(Result):
    """One window of a text that is longer than the model.

    Attributes:
        start: Where its first token starts in the text, in the unit asked for.
        end: Where its last token ends, exclusive.
        sequence_index: Which text of a pair it is in: 0 or 1.
        token_count: Number of tokens that the model read, with special tokens and the other text of
            a pair.
        scores: Every label's, in the order of the label ids; empty in a `Tokenization`.
    """

    start: int
    end: int
    sequence_index: int
    token_count: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Classification(Result):
    """The scores of one text, highest first; equal scores are in the order of the label ids.

    `to_dict` also has `label` and `score`, before the attributes.

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
    activation: str = field(repr=False)
    token_count: int
    truncated_tokens: int
    logits: tuple[float, ...] = field(repr=False)
    tokens: tuple[Token, ...] = field(repr=False)
    model: ModelRef
    timing: Timing = field(repr=False)
    request_id: str | None = field(default=None, compare=False, repr=False)
    windows: tuple[TextWindow, ...] = field(default=(), repr=False)
    window_count: int = field(default=0, repr=False)
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

    def to_dict(self) -> dict[str, Any]:
        """Return `label`, `score` and the attributes as a dict of values that JSON has."""
        return {"label": self.label, "score": self.score, **Result.to_dict(self)}


Outcome: TypeAlias = Classification | ClasswireError
"""The result of one text of a batch or stream. `ok` and `error` tell the two apart."""


class StreamResult(NamedTuple):
    """The outcome of one input of a stream.

    Attributes:
        id: The `StreamItem`'s id, or the index as a decimal string.
        index: The input's position in the iterable, from 0.
        outcome: A `Classification`, or the `ClasswireError` of this input.
    """

    id: str
    index: int  # type: ignore[assignment]  # in place of the tuple's method
    outcome: Outcome

    def to_dict(self) -> dict[str, Any]:
        """Return `id`, `index` and the outcome's values, in one dict."""
        return {"id": self.id, "index": self.index, **self.outcome.to_dict()}


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


@dataclass(frozen=True, slots=True, repr=False)
class Tokenization(Result):
    """The tokens that the model would read.

    Attributes:
        tokens: The tokens, special tokens included.
        attention_mask: 1 for each token that the model attends to.
        truncated_tokens: Number of tokens that were cut off.
        model: The model whose tokenizer it is.
        request_id: The call's `x-request-id`; None where no server sent one.
        windows: With `truncation="windows"`, where each window lies; `tokens` and `attention_mask`
            then have those of all windows one after the other.
    """

    tokens: tuple[Token, ...]
    attention_mask: tuple[int, ...] = field(repr=False)
    truncated_tokens: int
    model: ModelRef
    request_id: str | None = field(default=None, compare=False, repr=False)
    windows: tuple[TextWindow, ...] = field(default=(), repr=False)
