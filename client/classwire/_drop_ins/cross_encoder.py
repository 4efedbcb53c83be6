"""`CrossEncoder`: a served model with the interface of `sentence_transformers.CrossEncoder`.

It imports neither torch nor numpy until a call asks for their arrays. docs/guides/ranking.md lists
the differences from sentence-transformers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeAlias

from classwire._connection import channel
from classwire.client import Client
from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError
from classwire.options import ClassifyOptions, Priority
from classwire.results import Classification, StreamResult, TextInput, raise_for_errors

from .drop_in import DropIn, wrong

Rows: TypeAlias = list[list[float]]
ActivationFn: TypeAlias = Literal["sigmoid", "identity"] | Callable[[Any], Any]
"""A word, or a function of torch tensors, such as `torch.nn.Sigmoid()`: (pairs, labels) to the
same.
"""


class CrossEncoder(DropIn):
    """A served cross-encoder, called like that of sentence-transformers. Thread-safe.

        encoder = classwire.CrossEncoder("127.0.0.1:50051")
        encoder.predict([("a query", "a document"), ("a query", "another")])
        encoder.rank("a query", ["a document", "another"], top_k=1)

    Args:
        target: Address of the server, as for `Client`.
        model: Name of the model. Default: the server's default model.
        max_length: At least the model's own maximum; a smaller one is an error at the first call.
        activation_fn: Function from logits to scores. Default: sigmoid for a model with one label,
            identity for others. Pass "identity" for a checkpoint whose config tells
            sentence-transformers to use it, such as those of MS MARCO: the server does not say so.
        client_options: Those of `Client`.
    """

    def __init__(
        self,
        target: channel.Target,
        model: str | None = None,
        *,
        max_length: int | None = None,
        activation_fn: ActivationFn | None = None,
        **client_options: Any,
    ) -> None:
        super().__init__(Client(target, **client_options), model)
        self._max_length = max_length
        self._activation_fn = activation_fn

    def predict(
        self,
        inputs: Any,
        *,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: ActivationFn | None = None,
        apply_softmax: bool = False,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
    ) -> Any:
        """Score a pair, or each pair of an iterable.

        The result for a pair is a number; with several labels it is an array of their scores, in
        the order of the label ids. The result for an iterable is an array of those. Texts that are
        too long lose tokens from the end, the longer one first.

        Args:
            inputs: A pair of texts, or an iterable of pairs.
            batch_size: Ignored: the server makes the batches.
            show_progress_bar: Whether to show progress on standard error. Default: False.
            activation_fn: In place of that of the encoder.
            apply_softmax: Whether to apply a softmax over several labels after that.
            convert_to_numpy: Whether arrays are those of numpy, in float32; else they are lists.
            convert_to_tensor: Whether arrays are tensors of torch, which goes before numpy.

        Raises:
            ClasswireError: The first pair that failed, or the call.
        """
        is_single, pairs = _pairs(inputs)
        rows = self._logits(pairs, is_single, bool(show_progress_bar), None)
        rows = self._activated(rows, activation_fn)
        if apply_softmax:
            rows = [_softmax(row) if len(row) > 1 else row for row in rows]
        scores = _array(rows, convert_to_numpy, convert_to_tensor)
        return scores[0] if is_single else scores

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        activation_fn: ActivationFn | None = None,
        apply_softmax: bool | None = None,
        convert_to_numpy: bool | None = None,
        convert_to_tensor: bool | None = None,
    ) -> list[dict[str, Any]]:
        """Score documents for a query, and return them by score, highest first.

        Each is a dict with `corpus_id`, the document's index, and `score`; with `return_documents`
        also `text`. Equal scores are in the order of the documents.

        Args:
            query: The query.
            documents: The documents.
            top_k: Return only the `top_k` highest. Default: all.
            return_documents: Whether to return the documents' texts too.
            batch_size: Ignored: the server makes the batches.
            show_progress_bar: Whether to show progress on standard error. Default: False.
            activation_fn: In place of that of the encoder.
            apply_softmax: Ignored, as in sentence-transformers.
            convert_to_numpy: Ignored, as there: a score is a float.
            convert_to_tensor: Ignored, as in sentence-transformers.

        Raises:
            ClasswireError: The first document that failed, or the call.
            ValueError: The model has several labels.
        """
        texts = list(documents)
        _, pairs = _pairs([(query, text) for text in texts])
        rows = self._logits(pairs, False, bool(show_progress_bar), "interactive")
        if any(len(row) != 1 for row in rows):
            raise ValueError("rank needs a model with one label; predict takes any")
        scores = (row[0] for row in self._activated(rows, activation_fn))
        found: list[dict[str, Any]] = [{"corpus_id": i, "score": s} for i, s in enumerate(scores)]
        found = sorted(found, key=lambda each: each["score"], reverse=True)[:top_k]
        if return_documents:
            for each in found:
                each["text"] = texts[each["corpus_id"]]
        return found

    def _logits(
        self,
        pairs: Sequence[TextInput],
        is_single: bool,
        show_progress: bool,
        priority: Priority | None,
    ) -> Rows:
        """The logits of each pair, in the order of the label ids."""
        self._check_max_length(self._max_length)
        options: ClassifyOptions = {
            "activation": "identity",
            "truncation": "drop_end",
            "priority": priority,
        }
        if is_single:
            return [_row(self._client.classify(pairs[0], model=self._model, **options))]
        stream = self._client.classify_stream(pairs, model=self._model, in_order=True, **options)
        with contextlib.closing(stream):
            results = _shown(stream, len(pairs)) if show_progress else stream
            return list(map(_row, raise_for_errors(results)))

    def _activated(self, rows: Rows, activation_fn: ActivationFn | None) -> Rows:
        chosen = activation_fn or self._activation_fn
        if chosen is None:
            chosen = "sigmoid" if rows and len(rows[0]) == 1 else "identity"
        if callable(chosen):
            import torch

            return chosen(torch.tensor(rows)).tolist() if rows else []
        if chosen == "sigmoid":
            return [list(map(_sigmoid, row)) for row in rows]
        if chosen != "identity":
            raise wrong("activation_fn", "must be sigmoid, identity or a function")
        return rows


def _pairs(inputs: Any) -> tuple[bool, list[TextInput]]:
    """Whether the inputs are one pair, and the pairs."""
    if isinstance(inputs, (str, bytes)):
        raise TypeError("a cross-encoder scores pairs of texts, not one text")
    given = list(inputs)
    is_single = bool(given) and isinstance(given[0], str)
    return is_single, [_pair(each) for each in ([given] if is_single else given)]


def _pair(given: Iterable[str]) -> TextInput:
    texts = list(given)
    if len(texts) != 2 or isinstance(given, str):
        raise InvalidInputError(
            "a pair must have two texts", reason=Reason.BAD_OPTION, field="inputs"
        )
    return TextInput(*texts)


def _row(result: Classification) -> list[float]:
    by_id = sorted(result.scores, key=lambda score: score.label_id)
    return [score.score for score in by_id]


def _shown(results: Iterable[StreamResult], total: int) -> Iterable[StreamResult]:
    """The results, with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    return track(results, "Pairs", total=total, console=Console(stderr=True))


def _array(rows: Rows, to_numpy: bool, to_tensor: bool) -> Any:
    """The scores of all pairs: one number for each if there is one label."""
    scores: Any = [row[0] if len(row) == 1 else row for row in rows]
    if to_tensor:
        import torch

        return torch.tensor(scores)
    if to_numpy:
        import numpy

        return numpy.asarray(scores, dtype=numpy.float32)
    return scores


def _sigmoid(logit: float) -> float:
    return 0.5 * (1 + math.tanh(0.5 * logit))


def _softmax(row: list[float]) -> list[float]:
    highest = max(row)
    powers = [math.exp(value - highest) for value in row]
    return [power / math.fsum(powers) for power in powers]
