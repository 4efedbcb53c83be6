"""Vectors for ZeroShotClassify: labels that the caller makes up, by the rule of transformers."""

from collections.abc import Mapping, Sequence

import torch

from conformance.limits import MAX_TEXTS_PER_CALL, MAX_WINDOWS_PER_CALL

from . import texts
from .calls import ZERO_SHOT_CLASSIFY, message, rejected, vector
from .encoding import Json
from .fitting import Fit, Reading, read
from .problems import Problem, invalid
from .reference import Reference
from .scoring import MAX_SCORE, MEAN_LOGITS, aggregated, aggregation_of, best, number
from .windows import options

TEXT = "The staff was rude"
CANDIDATES = ("staff", "room", "a book")
TEMPLATE = "It was {}."
SHORT = {"hypothesisTemplate": TEMPLATE}
ENTAILMENT = {"entailment": (0, 2), "inference": (1, 0)}
"""The ids of entailment and contradiction of each model for inference."""


def zero_shot(
    name: str, reference: Reference, text: str, candidates: Sequence[str], given: Json
) -> Json:
    """Return a vector of ZeroShotClassify."""
    request = message(
        reference, text=text, candidateLabels=list(candidates), options=given
    )  # fmt: skip
    template = given.get("hypothesisTemplate", "This example is {}.")
    try:
        readings = _readings(
            reference, text, [template.replace("{}", each) for each in candidates], given
        )
    except Problem as problem:
        return rejected(name, ZERO_SHOT_CLASSIFY, problem, request=request)
    scores = _scores(reference, readings, given)
    result = {
        "scores": [
            {
                "label": candidates[index],
                **({"index": index} if index else {}),
                "score": number(scores[index]),
            }
            for index in best(scores, given)
        ],
        "tokenCount": sum(reading.token_count for reading in readings),
        "truncatedTokens": max(reading.lost for reading in readings),
        "windowCount": len(readings[0].inputs),
    }
    response = {
        "result": {key: value for key, value in result.items() if value},
        "model": reference.ref,
    }
    return vector(name, ZERO_SHOT_CLASSIFY, {"response": response}, request=request)


def _readings(
    reference: Reference, text: str, hypotheses: Sequence[str], given: Json
) -> list[Reading]:
    """Return the reading of each pair; the longest hypothesis lays the windows of all."""
    fit = Fit.of(given, reference.max_tokens)
    pairs = [reference.tokens({"text": text, "textPair": each}) for each in hypotheses]
    longest = max(range(len(pairs)), key=lambda place: len(pairs[place]))
    readings = []
    for place in (longest, *(place for place in range(len(pairs)) if place != longest)):
        is_windowed = fit.truncation == "TRUNCATION_WINDOWS"
        spare = len(pairs[longest]) - len(pairs[place]) if is_windowed else 0
        try:
            readings.append((place, read(pairs[place], 0, fit, spare)))
        except Problem as problem:
            fields = {"text": "text", "text_pair": f"candidate_labels[{place}]"}
            raise invalid(
                problem.reason, fields[problem.field], **dict(problem.metadata)
            ) from problem
    return [reading for _, reading in sorted(readings, key=lambda entry: entry[0])]


def _scores(reference: Reference, readings: Sequence[Reading], given: Json) -> list[float]:
    """Return the score of each candidate."""
    multi_label = given.get("multiLabel", False)
    labels = torch.tensor(ENTAILMENT[reference.name])

    def shares(logits: torch.Tensor) -> torch.Tensor:
        """(…, candidates, labels) -> (…, candidates)"""
        if multi_label or len(readings) == 1:
            return logits[..., labels].softmax(-1)[..., 0]
        return logits[..., labels[0]].softmax(-1)

    if aggregation_of(given, MAX_SCORE if multi_label else MEAN_LOGITS) == MAX_SCORE:
        logits = torch.stack([reference.logits(each) for each in readings], 1).double()
        scores = shares(logits).max(0).values
    else:
        means = [
            aggregated(reference.logits(each), each.weights, "ACTIVATION_IDENTITY", MEAN_LOGITS)[0]
            for each in readings
        ]
        scores = shares(torch.stack(means).double())
    result: list[float] = scores.tolist()
    return result


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `zero-shot`."""
    entailment, inference = models["entailment"], models["inference"]
    long = texts.words(100)
    several = {**SHORT, "multiLabel": True}
    return [
        zero_shot("several candidates", entailment, TEXT, CANDIDATES, SHORT),
        zero_shot("several labels", entailment, TEXT, CANDIDATES, several),
        zero_shot("one candidate", entailment, TEXT, CANDIDATES[:1], SHORT),
        zero_shot("the default template", inference, TEXT, CANDIDATES, {}),
        zero_shot("two labels, several candidates", inference, TEXT, CANDIDATES, SHORT),
        zero_shot("two labels, one candidate", inference, TEXT, CANDIDATES[2:], SHORT),
        zero_shot(
            "braces are text",
            inference,
            TEXT,
            ["a {} book", "{0}"],
            {"hypothesisTemplate": "{{}} was {x}"},
        ),
        zero_shot("a least score", inference, TEXT, CANDIDATES, {**several, "minScore": 0.5}),
        zero_shot(
            "a text that is cut",
            inference,
            long,
            CANDIDATES,
            {**SHORT, "truncation": "TRUNCATION_DROP_END"},
        ),
        zero_shot("windows", inference, long, CANDIDATES, SHORT | options()),
        zero_shot("windows, several labels", inference, long, CANDIDATES, several | options(0, 3)),
        zero_shot(
            "the highest scores of windows",
            entailment,
            long,
            CANDIDATES[:2],
            SHORT | options(aggregation=MAX_SCORE),
        ),
        zero_shot("a text that does not fit", inference, long, CANDIDATES, SHORT),
        zero_shot(
            "a candidate that leaves too little",
            inference,
            long,
            ["good", texts.words(33)],
            SHORT | options(),
        ),
        *_bad(models),
    ]


def _bad(models: Mapping[str, Reference]) -> list[Json]:
    inference, template = models["inference"], "options.hypothesis_template"
    sizes = {"items": MAX_TEXTS_PER_CALL + 1, "max_items": MAX_TEXTS_PER_CALL}
    windows = {"items": 18, "max_items": MAX_WINDOWS_PER_CALL}
    cases: dict[str, tuple[Json, Problem]] = {
        "no candidate": ({"candidateLabels": []}, invalid("BAD_OPTION", "candidate_labels")),
        "a repeated candidate": (
            {"candidateLabels": ["a", "b", "a"]},
            invalid("BAD_OPTION", "candidate_labels[2]"),
        ),
        "a candidate of 513 bytes": (
            {"candidateLabels": ["a", "b" * 513]},
            invalid("TEXT_TOO_LARGE", "candidate_labels[1]", bytes=513, max_text_bytes=512),
        ),
        "too many candidates": (
            {"candidateLabels": [f"number {n}" for n in range(sizes["items"])]},
            invalid("TOO_MANY_ITEMS", "candidate_labels", **sizes),
        ),
        "too many windows": (
            {"text": texts.words(240), "options": SHORT | options(0, 0)},
            invalid("TOO_MANY_ITEMS", "candidate_labels", **windows),
        ),
        "a template without braces": (
            {"options": {"hypothesisTemplate": "It was so."}},
            invalid("BAD_OPTION", template),
        ),
        "a template with two places": (
            {"options": {"hypothesisTemplate": "{} or {}"}},
            invalid("BAD_OPTION", template),
        ),
        "a model for another job": (
            {"model": "topics"},
            invalid("UNSUITABLE_MODEL", "model"),
        ),
    }
    given = {"model": inference.name, "text": TEXT, "candidateLabels": [*CANDIDATES]}
    return [
        rejected(name, ZERO_SHOT_CLASSIFY, problem, request={**given, **changed})
        for name, (changed, problem) in cases.items()
    ]
