"""Zero-shot classification: the scores of labels that the caller makes up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Unpack

from . import _enums, _requests, _responses
from ._display import Result
from ._requests import Priority, Truncation
from ._steps import Call, Steps, newer_call
from ._windows import WindowOptions
from .contract.reasons import Reason
from .errors import InvalidInputError
from .results import ModelRef, Timing
from .v1 import classwire_pb2 as pb


@dataclass(frozen=True, slots=True, repr=False)
class CandidateScore(Result):
    """The score of one candidate label.

    Attributes:
        label: The candidate.
        index: Its position in `candidate_labels`, from 0.
        score: 0 to 1.
    """

    label: str
    index: int
    score: float


@dataclass(frozen=True, slots=True, repr=False)
class ZeroShotClassification(Result):
    """The scores of the candidate labels, highest first; equal scores are in their order.

    Attributes:
        scores: One for each candidate that `top_k` and `min_score` kept. They sum to 1 over all
            candidates, unless `multi_label` was given or there is one candidate.
        token_count: Number of tokens that the model read, over all candidates and windows.
        truncated_tokens: Number of tokens that were cut off for the candidate that lost most; 0 if
            the model read the whole text.
        window_count: 1 for a text that fits or was cut.
        model: What the scores depend on.
        timing: How long each stage took; each value is the largest over all candidates.
        request_id: As in `Classification`.
    """

    scores: tuple[CandidateScore, ...]
    token_count: int
    truncated_tokens: int
    window_count: int
    model: ModelRef
    timing: Timing = field(repr=False)
    request_id: str | None = field(default=None, compare=False, repr=False)

    @property
    def label(self) -> str | None:
        """The candidate with the highest score; None if no score reached `min_score`."""
        return self.scores[0].label if self.scores else None

    @property
    def score(self) -> float | None:
        """The highest score; None if no score reached `min_score`."""
        return self.scores[0].score if self.scores else None

    def to_dict(self) -> dict[str, Any]:
        """Return `label`, `score` and the attributes as a dict of values that JSON has."""
        return {"label": self.label, "score": self.score, **Result.to_dict(self)}


class ZeroShotOptions(WindowOptions, total=False):
    """The keyword arguments of `zero_shot`.

    Attributes:
        hypothesis_template: A sentence with one `{}`, which each candidate replaces. Default:
            "This example is {}."
        multi_label: Whether any number of candidates may fit: their scores are then independent.
            Default: False.
        top_k: Return only the `top_k` highest scores. Default: all.
        min_score: Return only scores of at least `min_score`, 0 to 1. Default: all.
        truncation: For a text with too many tokens: reject, drop_end, drop_start or windows. It
            leaves the hypothesis whole. Default: the server's setting.
        priority: interactive (the default) goes before bulk.
        window_tokens: Largest window, in tokens. `WindowOptions` explains this and the next two.
        overlap_tokens: Tokens that neighbouring windows share.
        aggregation: mean_logits or max_score.
    """

    hypothesis_template: str | None
    multi_label: bool
    top_k: int | None
    min_score: float | None
    truncation: Truncation | None
    priority: Priority | None


def zero_shot_options(
    *,
    hypothesis_template: str | None = None,
    multi_label: bool = False,
    top_k: int | None = None,
    min_score: float | None = None,
    truncation: Truncation | None = None,
    priority: Priority | None = None,
    **windows: Unpack[WindowOptions],
) -> pb.ZeroShotOptions:
    """The options of a zero-shot call. InvalidInputError or TypeError names a wrong one."""
    _requests.check_names(windows, ZeroShotOptions.__optional_keys__, "zero_shot")
    if hypothesis_template == "":  # on the wire it means the default
        raise InvalidInputError(
            "hypothesis_template must have one {}",
            reason=Reason.BAD_OPTION,
            field="options.hypothesis_template",
        )
    options = pb.ZeroShotOptions(
        hypothesis_template=_requests.name(hypothesis_template, "hypothesis_template"),
        multi_label=multi_label,
        min_score=min_score,
        truncation=_enums.TRUNCATION.number(truncation, "truncation"),
        windows=_requests.window_options(**windows),
        priority=_enums.PRIORITY.number(priority, "priority"),
    )
    if top_k is not None:
        options.top_k = _requests.count(top_k, "top_k")
    return options


def zero_shot(
    text: str, candidate_labels: Iterable[str], model: str | None, options: pb.ZeroShotOptions
) -> Steps[ZeroShotClassification]:
    """Score candidate labels for one text."""
    request = pb.ZeroShotClassifyRequest(
        text=_requests.unicode(text, "text"),
        candidate_labels=[
            _requests.unicode(label, f"candidate_labels[{index}]")
            for index, label in enumerate(_requests.elements(candidate_labels))
        ],
        model=_requests.name(model, "model"),
        options=options,
    )
    response, request_id = yield from newer_call(Call("classify", "ZeroShotClassify", request))
    shared = _responses.Shared.of(response, request_id)
    return ZeroShotClassification(
        scores=tuple(CandidateScore(s.label, s.index, s.score) for s in response.result.scores),
        token_count=response.result.token_count,
        truncated_tokens=response.result.truncated_tokens,
        window_count=response.result.window_count,
        model=shared.model,
        timing=shared.timing,
        request_id=shared.request_id,
    )
