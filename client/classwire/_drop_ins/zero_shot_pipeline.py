"""A served model with the interface of `transformers.pipeline("zero-shot-classification")`.

Call forms and return shapes are those of transformers 5. docs/guides/zero-shot.md lists the
differences.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from classwire._calls.concurrent import mapped
from classwire._connection import channel
from classwire.client import Client
from classwire.options import Truncation, ZeroShotOptions
from classwire.results import ZeroShotClassification

from .drop_in import DropIn, are_several, chosen, elements, wrong

Answer = dict[str, Any]

_TRUNCATIONS: Mapping[Any, Truncation] = {
    True: "drop_end",
    "only_first": "drop_end",
    False: "reject",
    "do_not_truncate": "reject",
    "windows": "windows",
}


@dataclass(frozen=True, slots=True)
class _Settings:
    """The settings of a pipeline, which a call may override."""

    candidate_labels: tuple[str, ...] = ()
    hypothesis_template: str | None = None
    multi_label: bool = False
    truncation: Truncation = "drop_end"  # as transformers does, without being asked

    def replaced(
        self,
        candidate_labels: str | Iterable[str] | None,
        hypothesis_template: str | None,
        multi_label: bool | None,
        truncation: bool | str | None,
    ) -> _Settings:
        """The settings of a call; None means not given."""
        changes: dict[str, Any] = {}
        if isinstance(candidate_labels, str):
            labels = (label.strip() for label in candidate_labels.split(","))
            changes["candidate_labels"] = tuple(filter(None, labels))
        elif candidate_labels is not None:
            changes["candidate_labels"] = tuple(candidate_labels)
        if hypothesis_template is not None:
            changes["hypothesis_template"] = hypothesis_template
        if multi_label is not None:
            changes["multi_label"] = multi_label
        if truncation is not None:
            changes["truncation"] = chosen("truncation", truncation, _TRUNCATIONS)
        return replace(self, **changes)

    @property
    def options(self) -> ZeroShotOptions:
        """The options of the server's call."""
        return {
            "hypothesis_template": self.hypothesis_template,
            "multi_label": self.multi_label,
            "truncation": self.truncation,
        }


class ZeroShotClassificationPipeline(DropIn):
    """A served model, called like a zero-shot pipeline of transformers. Thread-safe."""

    def __init__(self, client: Client, model: str | None, settings: _Settings) -> None:
        super().__init__(client, model)
        self._settings = settings

    def __call__(
        self,
        sequences: Any,
        candidate_labels: str | Iterable[str] | None = None,
        *,
        hypothesis_template: str | None = None,
        multi_label: bool | None = None,
        truncation: bool | str | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Any:
        """Classify `sequences`, and return the shapes of transformers.

        A str returns a dict with `sequence`, `labels` and `scores`, highest first. A list returns a
        list of such dicts. Any other iterable returns an iterator, which reads a few texts ahead.

        Args:
            sequences: A text, or an iterable of texts.
            candidate_labels: The labels, or one str with commas between them.
            hypothesis_template: A sentence with one `{}`. Default: "This example is {}."
            multi_label: Whether any number of labels may fit. Default: False.
            truncation: True (the default) drops tokens from the end of a text that is too long,
                False rejects it, "windows" reads it in windows.
            batch_size: Ignored: the server makes the batches.
            num_workers: Ignored.

        Raises:
            ClasswireError: The first text that failed.
            InvalidInputError: An argument is wrong; it is a ValueError.
            TypeError: An input is not text.
        """
        settings = self._settings.replaced(
            candidate_labels, hypothesis_template, multi_label, truncation
        )
        if not settings.candidate_labels:
            raise wrong("candidate_labels", "must have at least one label")
        one = functools.partial(self._one, settings)
        if isinstance(sequences, str):
            return one(sequences)
        if not are_several(sequences):
            raise TypeError(f"sequences must be texts, not {type(sequences).__name__}")
        results = mapped(one, elements(sequences))
        return list(results) if isinstance(sequences, (list, tuple)) else results

    def _one(self, settings: _Settings, text: str) -> Answer:
        result: ZeroShotClassification = self._client.zero_shot(
            text, settings.candidate_labels, model=self._model, **settings.options
        )
        return {
            "sequence": text,
            "labels": [each.label for each in result.scores],
            "scores": [each.score for each in result.scores],
        }


def zero_shot_pipeline(
    target: channel.Target,
    model: str | None,
    *,
    candidate_labels: str | Iterable[str] | None = None,
    hypothesis_template: str | None = None,
    multi_label: bool | None = None,
    truncation: bool | str | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    **client_options: Any,
) -> ZeroShotClassificationPipeline:
    """Make a pipeline; `client_options` are those of `Client`."""
    settings = _Settings().replaced(candidate_labels, hypothesis_template, multi_label, truncation)
    return ZeroShotClassificationPipeline(Client(target, **client_options), model, settings)
