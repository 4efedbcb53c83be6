"""`pipeline`: a served model with the interface of `transformers.pipeline`.

Call forms and return shapes are those of transformers 5. docs/guides/pipeline.md lists the
differences.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, overload

from classwire._calls import requests
from classwire._connection import channel
from classwire.client import Client
from classwire.contract.reasons import Reason
from classwire.errors import ClasswireError, InvalidInputError
from classwire.options import Activation, ClassifyOptions, Truncation
from classwire.results import Classification, TextInput

from .drop_in import DropIn, are_several, chosen, elements
from .zero_shot_pipeline import ZeroShotClassificationPipeline, zero_shot_pipeline

LabelledScore: TypeAlias = dict[str, Any]
Shape: TypeAlias = LabelledScore | list[LabelledScore]

_ACTIVATIONS: Mapping[str, Activation] = {
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "none": "identity",
}
_TRUNCATIONS: Mapping[Any, Truncation] = {
    True: "drop_end",
    "longest_first": "drop_end",
    False: "reject",
    "do_not_truncate": "reject",
    "windows": "windows",
}


@dataclass(frozen=True, slots=True)
class _Settings:
    """The settings of a pipeline, which a call may override."""

    top_k: int | None = 1
    # Whether top_k was never given: a result is then one dict, not a list of dicts.
    is_single: bool = True
    activation: Activation | None = None
    truncation: Truncation | None = None
    max_length: int | None = None

    def replaced(
        self,
        top_k: int | Literal[""] | None = "",
        function_to_apply: str | None = None,
        truncation: bool | str | None = None,
        max_length: int | None = None,
    ) -> _Settings:
        """The settings of a call. A `top_k` of "" means not given, since None means all."""
        changes: dict[str, Any] = {}
        if top_k is None or isinstance(top_k, int):
            changes |= {"top_k": top_k, "is_single": False}
        if function_to_apply is not None:
            changes["activation"] = chosen(
                "function_to_apply", function_to_apply.lower(), _ACTIVATIONS
            )
        if truncation is not None:
            changes["truncation"] = chosen("truncation", truncation, _TRUNCATIONS)
        if max_length is not None:
            changes["max_length"] = max_length
        return replace(self, **changes)

    @property
    def options(self) -> ClassifyOptions:
        """The options of the server's call."""
        truncation = self.truncation
        if self.max_length is not None and truncation is None:
            truncation = "drop_end"  # transformers truncates once max_length is given
        # A top_k of 0 or below is a slice ([:0], [:-1]) of all scores.
        top_k = self.top_k if self.top_k and self.top_k > 0 else None
        return {"top_k": top_k, "activation": self.activation, "truncation": truncation}

    def shape(self, result: Classification) -> Shape:
        """The result in the shape of transformers."""
        scores = [{"label": s.label, "score": s.score} for s in result.scores]
        return scores[0] if self.is_single else scores[: self.top_k]


class TextClassificationPipeline(DropIn):
    """A served model, called like a pipeline of transformers. Thread-safe."""

    def __init__(self, client: Client, model: str | None, settings: _Settings) -> None:
        super().__init__(client, model)
        self._settings = settings

    def __call__(
        self,
        inputs: Any,
        *,
        top_k: int | Literal[""] | None = "",
        function_to_apply: str | None = None,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        padding: bool | str | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """Classify `inputs`, and return the shapes of transformers.

        A str returns a list of one dict with `label` and `score`. A dict with `text` and
        `text_pair` returns one such dict, a list a list of them. Any other iterable returns an
        iterator, which reads ahead by at most the server's window. With `top_k`, each such dict
        becomes a list of dicts, and a str returns just that list.

        Args:
            inputs: A text, a dict, or an iterable of those.
            top_k: Number of labels, None for all. Default (""): the best one, not in a list.
            function_to_apply: sigmoid, softmax or none. Default: the model's own.
            truncation: True or "longest_first" drops tokens from the end, False rejects a text that
                is too long, "windows" reads it in overlapping windows. Default: the server's
                setting.
            max_length: At least the model's own maximum; a smaller one is an error.
            padding: Ignored: no result depends on it.
            batch_size: Ignored: the server makes the batches.
            num_workers: Ignored.

        Raises:
            ClasswireError: The first text that failed, or the call.
            InvalidInputError: An input or argument is wrong, or the server does not support it; it
                is a ValueError.
        """
        settings = self._settings.replaced(top_k, function_to_apply, truncation, max_length)
        self._check_max_length(settings.max_length)
        if isinstance(inputs, (str, Mapping)):
            text = _text(inputs)
            requests.element_input(text, "inputs")  # else no text would be a TypeError
            result = self._client.classify(text, model=self._model, **settings.options)
            shaped = settings.shape(result)
            return [shaped] if isinstance(inputs, str) and top_k == "" else shaped
        if not are_several(inputs):
            raise _no_input(f"inputs must be texts, not {type(inputs).__name__}")
        results = _Results(functools.partial(self._stream, settings=settings), inputs)
        return list(results) if isinstance(inputs, (list, tuple)) else results

    def _stream(self, inputs: Iterable[Any], settings: _Settings) -> Iterator[Shape]:
        stream = self._client.classify_stream(
            map(_text, elements(inputs)), model=self._model, in_order=True, **settings.options
        )
        with contextlib.closing(stream):
            for _, _, outcome in stream:
                if isinstance(outcome, ClasswireError):
                    raise outcome
                yield settings.shape(outcome)


class _Results:
    """The results of an iterable, in order; with a length if the iterable has one."""

    def __init__(self, stream: Any, inputs: Iterable[Any]) -> None:
        self._start = functools.partial(stream, inputs)
        self._inputs = inputs
        self._running: Iterator[Shape] | None = None

    def __iter__(self) -> Iterator[Shape]:
        self._running = iter(self._start())
        return self._running

    def __next__(self) -> Shape:
        return next(self._running if self._running is not None else iter(self))

    def __len__(self) -> int:
        if not isinstance(self._inputs, Sized):
            raise TypeError(f"object of type {type(self._inputs).__name__!r} has no len()")
        return len(self._inputs)


@overload
def pipeline(
    target: channel.Target,
    model: str | None = None,
    *,
    task: Literal["zero-shot-classification"],
    candidate_labels: str | Iterable[str] | None = None,
    hypothesis_template: str | None = None,
    multi_label: bool | None = None,
    truncation: bool | str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    **client_options: Any,
) -> ZeroShotClassificationPipeline: ...


@overload
def pipeline(
    target: channel.Target,
    model: str | None = None,
    *,
    task: Literal["text-classification", "sentiment-analysis"] = "text-classification",
    top_k: int | Literal[""] | None = "",
    function_to_apply: str | None = None,
    truncation: bool | str | None = None,
    max_length: int | None = None,
    padding: bool | str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    **client_options: Any,
) -> TextClassificationPipeline: ...


def pipeline(
    target: channel.Target,
    model: str | None = None,
    *,
    task: str = "text-classification",
    **options: Any,
) -> TextClassificationPipeline | ZeroShotClassificationPipeline:
    """Make a pipeline for a model of the server at `target`. Default: the server's default model.

    `task` is text-classification (or sentiment-analysis, its other name) or
    zero-shot-classification. The other arguments are the defaults of each call (see `__call__` of
    `TextClassificationPipeline` and `ZeroShotClassificationPipeline`), and the options of `Client`.

        classifier = classwire.pipeline("127.0.0.1:50051")
        classifier("I really love this book")  # [{'label': '5 stars', 'score': 0.86}]
    """
    make = chosen("task", task, _TASKS)
    made: TextClassificationPipeline | ZeroShotClassificationPipeline
    made = make(target, model, **options)
    return made


def _text_classification(
    target: channel.Target,
    model: str | None,
    *,
    top_k: int | Literal[""] | None = "",
    function_to_apply: str | None = None,
    truncation: bool | str | None = None,
    max_length: int | None = None,
    padding: bool | str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    **client_options: Any,
) -> TextClassificationPipeline:
    settings = _Settings().replaced(top_k, function_to_apply, truncation, max_length)
    return TextClassificationPipeline(Client(target, **client_options), model, settings)


_TASKS: Mapping[Any, Any] = {
    "text-classification": _text_classification,
    "sentiment-analysis": _text_classification,
    "zero-shot-classification": zero_shot_pipeline,
}


def _text(element: Any) -> TextInput:
    """One element of the inputs as a text or pair."""
    if isinstance(element, Mapping):
        if not {"text"} <= element.keys() <= {"text", "text_pair"}:
            raise _no_input("a dict must have the key text, may have text_pair, and no other key")
        return TextInput(element["text"], element.get("text_pair"))
    if isinstance(element, list):
        match element:
            case [[text, text_pair]]:  # the form of pairs before dicts
                return TextInput(text, text_pair)
        raise _no_input('to classify a pair, use {"text": ..., "text_pair": ...}')
    return TextInput(element)


def _no_input(message: str) -> InvalidInputError:
    return InvalidInputError(message, reason=Reason.BAD_OPTION, field="inputs")
