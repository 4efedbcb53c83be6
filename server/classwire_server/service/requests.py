"""The texts of a request: checked, then encoded together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Priority
from classwire_server.tokenization import Text, Tokenized, Windows, tokens_made
from classwire_server.tokenization.fitting import too_many_tokens
from classwire_server.windows import WindowPlan

from .options import Options

TEXTS_AT_ONCE = 16
"""How many texts of a call are encoded before their windows are counted: the rest may not fit into
the call.
"""
NEXT_CALL_S = 0.001
"""Retry delay of texts for which a call has no room: its answer makes the room."""


@dataclass(frozen=True, eq=False)
class ClassifyRequest:
    """The texts of one message for one model. A RequestError replaces a text that breaks a rule.

    `field` is the path of a text in the message, with {place} for the index of its input and {name}
    for text or text_pair.
    """

    model: ServedModel
    options: Options
    texts: Sequence[Text | RequestError]
    field: str

    @classmethod
    def of(cls, model: ServedModel, options: Options, texts: Iterable[Text], field: str) -> Self:
        """Check each text against the limits of the model, as `check_text` does."""
        max_text_bytes = model.limits.max_text_bytes
        return cls(model, options, [_text_or_error(text, max_text_bytes) for text in texts], field)

    @property
    def priority(self) -> Priority:
        """Which work goes first."""
        return self.options.priority

    def encode(self) -> list[Tokenized]:
        """The input of each text, or the error in its place."""
        return list(self._encode(self.texts, 0))

    def _encode(self, texts: Sequence[Text | RequestError], start: int) -> Iterator[Tokenized]:
        """The outcomes of some of the texts; the first has the index `start`."""
        options = self.options
        encodings = iter(
            self.model.tokenization.encode_all(
                [text for text in texts if isinstance(text, Text)],
                options.fit,
                spans=options.include_tokens or options.include_windows,
            )
        )
        for place, text in enumerate(texts, start):
            outcome = next(encodings) if isinstance(text, Text) else text
            if options.include_tokens and isinstance(outcome, Windows):
                outcome = _not_one_window(outcome, options)
            if isinstance(outcome, Exception):
                outcome = request_error(outcome)
                outcome.field = outcome.field and self.field.format(place=place, name=outcome.field)
            yield outcome


@dataclass(frozen=True, eq=False)
class BatchRequest(ClassifyRequest):
    """The texts of a call with a limit of windows: those that would pass it are OVERLOADED."""

    def encode(self) -> list[Tokenized]:
        """The input of each text, or the error in its place."""
        texts, limit = self.texts, self.model.limits.max_windows_per_call
        if not isinstance(self.options.fit, WindowPlan):
            return super().encode()
        outcomes: list[Tokenized] = []
        windows = 0
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            for outcome in self._encode(texts[start : start + TEXTS_AT_ONCE], start):
                windows += windows_of(outcome)
                if windows > limit:
                    left = len(texts) - len(outcomes)
                    return [*outcomes, *(_no_room(limit) for _ in range(left))]
                outcomes.append(outcome)
        return outcomes


def windows_of(outcome: Tokenized) -> int:
    """Number of windows of a text; 1 for one that fits, and 0 for an error."""
    if isinstance(outcome, Exception):
        return 0
    return len(outcome.encodings) if isinstance(outcome, Windows) else 1


def check_size(items: int, limit: int, field: str, kind: str = "texts") -> None:
    """Raises RequestError TOO_MANY_ITEMS, naming the field, for a call over a limit."""
    if items > limit:
        raise too_many_items(items, limit, field, kind)


def too_many_items(items: int, limit: int, field: str, kind: str) -> RequestError:
    """The error of a call over a limit."""
    return RequestError(
        Reason.TOO_MANY_ITEMS,
        f"{items} {kind}, and the limit is {limit}",
        field=field,
        metadata={"items": str(items), "max_items": str(limit)},
    )


def too_many_windows(
    windows: int, limit: int, field: str, outcomes: Iterable[Tokenized]
) -> RequestError:
    """The error of a call whose texts have more windows than it may; the caller pays for those that
    were tokenized.
    """
    error = too_many_items(windows, limit, field, "windows")
    error.tokens = sum(map(tokens_made, outcomes))
    return error


def max_texts(model: ServedModel, options: Options) -> int:
    """Maximum number of texts whose answers fit into one message."""
    limits = model.limits
    most = limits.max_texts_per_call
    if options.include_tokens:
        most = min(most, limits.max_texts_per_call_with_tokens)
    if options.include_windows:
        most = min(most, limits.max_texts_per_call_with_windows)
    return most


def text_of(message: pb.TextInput) -> Text:
    """The text or pair of an input, unchecked."""
    return Text(message.text, message.text_pair if message.HasField("text_pair") else None)


def check_text(text: Text, max_text_bytes: int) -> Text:
    """The text itself.

    Raises RequestError EMPTY_TEXT or TEXT_TOO_LARGE, naming the field within the input.
    """
    for name, value in zip(Text._fields, text, strict=True):
        if value is not None:
            check_string(value, max_text_bytes, name)
    return text


def string_or_error(value: str, max_bytes: int, field: str) -> str | RequestError:
    """The string itself, or the error that `check_string` raises."""
    try:
        check_string(value, max_bytes, field)
    except RequestError as error:
        return error
    return value


def check_string(value: str, max_bytes: int, field: str) -> None:
    """Raises RequestError EMPTY_TEXT or TEXT_TOO_LARGE, naming the field."""
    if not value.strip():
        raise RequestError(Reason.EMPTY_TEXT, "the text is empty or blank", field=field)
    size = len(value.encode())
    if size > max_bytes:
        raise RequestError(
            Reason.TEXT_TOO_LARGE,
            f"the text has {size} bytes, and the limit is {max_bytes}",
            field=field,
            metadata={"bytes": str(size), "max_text_bytes": str(max_bytes)},
        )


def _text_or_error(text: Text, max_text_bytes: int) -> Text | RequestError:
    try:
        return check_text(text, max_text_bytes)
    except RequestError as error:
        return error


def _not_one_window(windows: Windows, options: Options) -> RequestError:
    """The error of a text whose tokens do not fit into the answer: they have several windows."""
    tokens = windows.whole_tokens
    max_tokens = options.fit.tokens if isinstance(options.fit, WindowPlan) else tokens
    return too_many_tokens(tokens, max_tokens)


def _no_room(limit: int) -> RequestError:
    return RequestError(
        Reason.OVERLOADED,
        f"the texts before it have the call's {limit} windows; send it in another call",
        metadata={"max_windows_per_call": str(limit)},
        retry_after_s=NEXT_CALL_S,
    )
