"""Zero-shot classification: the scores of labels that the caller makes up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError
from classwire.options import Priority, Truncation, WindowOptions, ZeroShotOptions
from classwire.results import CandidateScore, ZeroShotClassification
from classwire.v1 import classwire_pb2 as pb

from . import enums, requests, responses
from .steps import Call, Steps, newer_call


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
    requests.check_names(windows, ZeroShotOptions.__optional_keys__, "zero_shot")
    if hypothesis_template == "":  # on the wire it means the default
        raise InvalidInputError(
            "hypothesis_template must have one {}",
            reason=Reason.BAD_OPTION,
            field="options.hypothesis_template",
        )
    return pb.ZeroShotOptions(
        hypothesis_template=requests.name(hypothesis_template, "hypothesis_template"),
        multi_label=multi_label,
        top_k=requests.top_k_number(top_k),
        min_score=min_score,
        truncation=enums.TRUNCATION.number(truncation, "truncation"),
        windows=requests.window_options(**windows),
        priority=enums.PRIORITY.number(priority, "priority"),
    )


def zero_shot(
    text: str, candidate_labels: Iterable[str], model: str | None, options: pb.ZeroShotOptions
) -> Steps[ZeroShotClassification]:
    """Score candidate labels for one text."""
    request = pb.ZeroShotClassifyRequest(
        text=requests.unicode(text, "text"),
        candidate_labels=[
            requests.unicode(label, f"candidate_labels[{index}]")
            for index, label in enumerate(requests.elements(candidate_labels))
        ],
        model=requests.name(model, "model"),
        options=options,
    )
    response, request_id = yield from newer_call(Call("classify", "ZeroShotClassify", request))
    shared = responses.Shared.of(response, request_id)
    return ZeroShotClassification(
        scores=tuple(CandidateScore(s.label, s.index, s.score) for s in response.result.scores),
        token_count=response.result.token_count,
        truncated_tokens=response.result.truncated_tokens,
        window_count=response.result.window_count,
        model=shared.model,
        timing=shared.timing,
        request_id=shared.request_id,
    )
