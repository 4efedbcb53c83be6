"""Vectors for Rank: documents in the order of their scores."""

from collections.abc import Mapping, Sequence
from typing import Any

from conformance.limits import MAX_TEXT_BYTES, MAX_TEXTS_PER_CALL, MAX_WINDOWS_PER_CALL

from . import texts
from .calls import RANK, message, rejected, vector
from .encoding import Json
from .fitting import Fit, Reading, read
from .problems import Problem, invalid
from .reference import Reference, check
from .scoring import MAX_SCORE, MEAN_LOGITS, aggregated, aggregation_of, best, number
from .windows import options

QUERY = "Was the staff rude?"
DOCUMENTS = (
    "The staff was fine",
    "I really love this book",
    "Terrible staff!",
    "It was good",
)


def rank(
    name: str, reference: Reference, query: str, documents: Sequence[str], given: Json | None = None
) -> Json:
    """Return a vector of Rank whose query is good."""
    given = given or {}
    readings: dict[int, Reading] = {}
    failures = []
    for index, document in enumerate(documents):
        try:
            readings[index] = _reading(reference, query, document, given)
        except Problem as problem:
            fields = {"text": "query", "text_pair": f"documents[{index}]"}
            error = Problem(problem.code, problem.reason, fields[problem.field], problem.metadata)
            failures.append({"index": index, **error.outcome()})
    label_id = reference.labels.index(given["label"]) if "label" in given else 0
    activation = given.get("activation", reference.activation)
    aggregation = aggregation_of(given, MAX_SCORE)
    scores = [
        aggregated(reference.logits(each), each.weights, activation, aggregation)[1][label_id]
        for each in readings.values()
    ]
    answered = list(readings.items())
    results = [_result(*answered[place], scores[place]) for place in best(scores, given)]
    response: Json = {
        "results": results,
        "failures": [_without_zero(failure) for failure in failures],
        "model": reference.ref,
    }
    request = message(reference, query=query, documents=list(documents), options=given)
    response = {key: value for key, value in response.items() if value}
    return vector(name, RANK, {"response": response}, request=request)


def _reading(reference: Reference, query: str, document: str, given: Json) -> Reading:
    check(document, "text_pair")
    tokens = reference.tokens({"text": query, "textPair": document})
    return read(tokens, 1, Fit.of(given, reference.max_tokens))


def _result(index: int, reading: Reading, score: float) -> Json:
    return _without_zero(
        {
            "index": index,
            "score": number(score),
            "tokenCount": reading.token_count,
            "truncatedTokens": reading.lost,
            "windowCount": len(reading.inputs),
        }
    )


def _without_zero(fields: Mapping[str, Any]) -> Json:
    return {key: value for key, value in fields.items() if value}


def vectors(models: Mapping[str, Reference]) -> list[Json]:
    """The group `rank`."""
    spam, entailment, topics = models["spam"], models["entailment"], models["topics"]
    repeated = [*DOCUMENTS, DOCUMENTS[1], DOCUMENTS[0]]
    long = [texts.words(60), "good", texts.words(23, start=9)]
    cut = {"truncation": "TRUNCATION_DROP_END"}
    return [
        rank("documents, two of them twice", spam, QUERY, repeated),
        rank("a least score", spam, QUERY, DOCUMENTS, {"minScore": 0.4}),
        rank("no documents", spam, QUERY, []),
        rank("the score of a label", entailment, QUERY, DOCUMENTS, {"label": "neutral"}),
        rank("all scores equal", topics, QUERY, DOCUMENTS, {"label": "equal", "topK": 3}),
        rank("a number", models["rating"], "good?", ["bad", "good", "rude"]),
        rank(
            "logits of a label",
            entailment,
            QUERY,
            DOCUMENTS,
            {"label": "contradiction", "activation": "ACTIVATION_IDENTITY"},
        ),
        rank(
            "failures next to results",
            spam,
            QUERY,
            [DOCUMENTS[0], "", texts.words(40), "x" * (MAX_TEXT_BYTES + 1), DOCUMENTS[1]],
            {"topK": 1},
        ),
        rank("documents that are cut", spam, QUERY, long, cut),
        rank(
            "documents that are cut at the start",
            spam,
            texts.words(17),
            [texts.words(14, start=2)],
            {"truncation": "TRUNCATION_DROP_START"},
        ),
        rank("documents in windows", spam, QUERY, long, options()),
        rank("the mean of windows", spam, QUERY, long, options(20, 4, aggregation=MEAN_LOGITS)),
        rank("a query that leaves too little", spam, texts.words(22), long, cut),
        *_bad(spam, entailment),
    ]


def _bad(spam: Reference, entailment: Reference) -> list[Json]:
    given = {"query": QUERY, "documents": [DOCUMENTS[0]]}
    sizes = {"items": MAX_TEXTS_PER_CALL + 1, "max_items": MAX_TEXTS_PER_CALL}
    windows = {"items": 18, "max_items": MAX_WINDOWS_PER_CALL}
    cases: dict[str, tuple[Json, Problem]] = {
        "a blank query": ({"query": " "}, invalid("EMPTY_TEXT", "query")),
        "no label of several": (
            {"model": entailment.name},
            invalid("BAD_OPTION", "options.label"),
        ),
        "softmax of one label": (
            {"options": {"activation": "ACTIVATION_SOFTMAX"}},
            invalid("BAD_OPTION", "options.activation"),
        ),
        "too many documents": (
            {"documents": ["good"] * sizes["items"]},
            invalid("TOO_MANY_ITEMS", "documents", **sizes),
        ),
        "too many windows": (
            {"documents": [texts.words(30)] * 6, "options": options(20, 0)},
            invalid("TOO_MANY_ITEMS", "documents", **windows),
        ),
    }
    return [
        rejected(name, RANK, problem, request={"model": spam.name, **given, **changed})
        for name, (changed, problem) in cases.items()
    ]
