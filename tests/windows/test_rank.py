"""Rank: documents in the order of their scores, and what ends alone or with the call."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import pytest
import torch

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import SECRET, Failure, invalid, item_failure, refusal
from tests.parity.direct import Direct
from tests.windows.conftest import MAX_TEXTS
from tests.windows.reference import windows
from tests.windows.test_options import words

QUERY = "Which book did they love?"
SENTENCES = [
    "I really love this book, and the one before it was good as well.",
    "The hotel room was clean but the breakfast was cold and the staff rude.",
    "Terrible software: it crashed twice a day and lost all of my work!",
    "It's fine, I suppose; nothing special.",
]
CUT: dict[str, Any] = {"truncation": pb.TRUNCATION_DROP_END}


def rank(
    stub: ClassifyServiceStub,
    documents: Sequence[str],
    query: str = QUERY,
    model: str = "ranker",
    **options: Any,
) -> pb.RankResponse:
    """Rank documents by the shared server."""
    request = pb.RankRequest(
        query=query, documents=documents, model=model, options=pb.RankOptions(**options)
    )
    return stub.Rank(request, timeout=PATIENCE_S)


def pairs(stub: ClassifyServiceStub, documents: Sequence[str], model: str) -> list[pb.Outcome]:
    """The outcomes of the same pairs in a batch."""
    inputs = [pb.TextInput(text=QUERY, text_pair=document) for document in documents]
    request = pb.BatchClassifyRequest(inputs=inputs, model=model)
    return list(stub.BatchClassify(request, timeout=PATIENCE_S).outcomes)


def test_scores_are_those_of_the_pairs(
    stub: ClassifyServiceStub, direct: Callable[[str], Direct]
) -> None:
    """Scores and tokens equal those of transformers and of Classify, in descending order; ties come
    by index, and top_k and min_score cut the list.
    """
    dice = random.Random(0)
    documents = [" ".join(dice.choices(SENTENCES, k=dice.randrange(1, 4))) for _ in range(10)]
    documents += [documents[3], documents[7]]
    expected = [direct("ranker").scores((QUERY, document))[0] for document in documents]

    answer = rank(stub, documents)
    found = {result.index: result for result in answer.results}
    outcomes = pairs(stub, documents, "ranker")

    assert not answer.failures
    assert [found[index].score for index in range(len(documents))] == pytest.approx(
        expected, abs=1e-5
    )
    for index, outcome in enumerate(outcomes):
        result, classification = found[index], outcome.classification
        assert result.score == pytest.approx(classification.scores[0].score, abs=1e-6)
        assert result.token_count == classification.token_count
        assert (result.truncated_tokens, result.window_count) == (0, 1)
    order = [result.index for result in answer.results]
    assert order == sorted(range(len(documents)), key=lambda index: (-found[index].score, index))
    assert order.index(3) + 1 == order.index(10)
    assert [result.index for result in rank(stub, documents, top_k=3).results] == order[:3]
    bound = found[order[2]].score
    assert [each.index for each in rank(stub, documents, min_score=bound).results] == order[:3]
    assert answer.model.name == "ranker"
    assert answer.timing.total_us >= answer.timing.inference_us > 0


def test_a_label_ranks(stub: ClassifyServiceStub) -> None:
    """Of several labels the one that the call names ranks, in any activation."""
    outcomes = pairs(stub, SENTENCES, "bert")
    scores = [{s.label: s.score for s in each.classification.scores} for each in outcomes]
    by_label = rank(stub, SENTENCES, model="bert", label="4 stars").results
    logits = rank(
        stub, SENTENCES, model="bert", label="4 stars", activation=pb.ACTIVATION_IDENTITY,
        min_score=-1e30,
    ).results  # fmt: skip

    expected = {index: of_text["4 stars"] for index, of_text in enumerate(scores)}
    assert {each.index: each.score for each in by_label} == pytest.approx(expected, abs=1e-6)
    assert len(logits) == len(SENTENCES)
    assert any(each.score > 1 or each.score < 0 for each in logits)


def test_windows_of_documents(stub: ClassifyServiceStub, direct: Callable[[str], Direct]) -> None:
    """A long document has its highest window's score, or that of the mean logits; the query stands
    whole in each.
    """
    documents = [" ".join(SENTENCES), SENTENCES[0], " ".join(SENTENCES[:3])]
    references = [
        windows(direct("ranker"), (QUERY, document), 40, 5, read=1) for document in documents
    ]
    options: dict[str, Any] = {
        "truncation": pb.TRUNCATION_WINDOWS,
        "windows": pb.WindowOptions(window_tokens=40, overlap_tokens=5),
    }
    highest = {each.index: each for each in rank(stub, documents, **options).results}
    options["windows"].aggregation = pb.WINDOW_AGGREGATION_MEAN_LOGITS
    mean = {each.index: each for each in rank(stub, documents, **options).results}

    for index, expected in enumerate(references):
        assert highest[index].window_count == len(expected.logits)
        assert highest[index].token_count == sum(expected.token_counts)
        best = float(expected.logits.sigmoid().max())
        assert highest[index].score == pytest.approx(best, abs=1e-5)
        assert mean[index].score == pytest.approx(float(expected.mean.sigmoid()[0]), abs=1e-5)
    assert max(each.window_count for each in highest.values()) > 2


def test_only_the_document_is_cut(
    stub: ClassifyServiceStub, direct: Callable[[str], Direct]
) -> None:
    """Truncation takes tokens of the document, also where the query has more."""
    query, document = words(350), words(10) + " hotel " + words(200)
    tokenizer, model = direct("ranker").tokenizer, direct("ranker").model
    inputs = tokenizer(
        query, document, truncation="only_second", max_length=512, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = float(model(**inputs).logits.sigmoid())

    [result] = rank(stub, [document], query, **CUT).results
    [from_start] = rank(stub, [document], query, truncation=pb.TRUNCATION_DROP_START).results

    assert result.score == pytest.approx(expected, abs=1e-5)
    assert (result.token_count, result.truncated_tokens) == (512, 350 + 211 + 3 - 512)
    assert from_start.truncated_tokens == result.truncated_tokens
    assert from_start.score != result.score


def test_bad_documents_fail_alone(stub: ClassifyServiceStub) -> None:
    """A document that cannot be scored is a failure beside the results, whatever top_k is."""
    documents = [SENTENCES[0], "", SENTENCES[1], f"{SECRET} " + "a" * 65_536, words(600), "ok"]

    answer = rank(stub, documents, top_k=1)

    assert len(answer.results) == 1
    assert [failure.index for failure in answer.failures] == [1, 3, 4]
    failures = [item_failure(pb.Outcome(error=each.error)) for each in answer.failures]
    assert failures == [
        invalid("EMPTY_TEXT", "documents[1]"),
        invalid(
            "TEXT_TOO_LARGE", "documents[3]",
            bytes=str(len(documents[3].encode())), max_text_bytes="65536",
        ),
        invalid("TOO_MANY_TOKENS", "documents[4]", tokens="616", max_tokens="512"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "max_tokens"),
    [
        ({}, "512"),
        (CUT, "512"),
        ({"truncation": pb.TRUNCATION_WINDOWS}, "512"),
        (
            {
                "truncation": pb.TRUNCATION_WINDOWS,
                "windows": pb.WindowOptions(window_tokens=500),
            },
            "500",
        ),
    ],
)
def test_queries_that_leave_too_little(
    stub: ClassifyServiceStub, options: dict[str, Any], max_tokens: str
) -> None:
    """A query that leaves less than a quarter fails the documents that do not fit, in its field."""
    answer = rank(stub, ["good book", words(150), "bad"], words(390), **options)

    assert {result.index for result in answer.results} == {0, 2}
    [failure] = answer.failures
    assert item_failure(pb.Outcome(error=failure.error)) == invalid(
        "TOO_MANY_TOKENS", "query", tokens="543", max_tokens=max_tokens
    )


def test_no_documents(stub: ClassifyServiceStub) -> None:
    """No documents have no results."""
    answer = rank(stub, [])

    assert not answer.results
    assert not answer.failures
    assert answer.model.name == "ranker"


BAD_CALLS: dict[str, tuple[dict[str, Any], Failure]] = {
    "an empty query": ({"query": " "}, invalid("EMPTY_TEXT", "query")),
    "a query that is too large": (
        {"query": "a" * 65_537},
        invalid("TEXT_TOO_LARGE", "query", bytes="65537", max_text_bytes="65536"),
    ),
    "too many documents": (
        {"documents": ["a"] * (MAX_TEXTS + 1)},
        invalid("TOO_MANY_ITEMS", "documents", items=str(MAX_TEXTS + 1), max_items=str(MAX_TEXTS)),
    ),
    "too many windows": (
        {
            "documents": [words(100 + n) for n in range(3)],
            "truncation": pb.TRUNCATION_WINDOWS,
            "windows": pb.WindowOptions(window_tokens=40),
        },
        invalid("TOO_MANY_ITEMS", "documents", items="18", max_items=str(MAX_TEXTS)),
    ),
    "an unknown label": ({"label": "relevance"}, invalid("BAD_OPTION", "options.label")),
    "no label of several": ({"model": "bert"}, invalid("BAD_OPTION", "options.label")),
    "softmax of one label": (
        {"activation": pb.ACTIVATION_SOFTMAX}, invalid("BAD_OPTION", "options.activation")
    ),
    **{
        f"an unknown {name}": (
            {name: 99}, invalid("UNKNOWN_ENUM", f"options.{name}", value="99")
        )
        for name in ("activation", "truncation")
    },
    **{
        f"min_score {value}": ({"min_score": value}, invalid("BAD_OPTION", "options.min_score"))
        for value in (math.nan, 1.5, -0.5)
    },
    "texts of a pair without a special token between": (
        {"model": "gpt2", "label": "1 star"}, invalid("UNSUITABLE_MODEL", "model")
    ),
    "an unknown model": (
        {"model": "nobody"}, Failure(grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL", "model")
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_CALLS)
def test_bad_calls(stub: ClassifyServiceStub, case: str) -> None:
    """A bad query, option or model ends the call, and the error names the field."""
    arguments, expected = BAD_CALLS[case]

    assert refusal(lambda: rank(stub, **{"documents": ["a"], **arguments})) == expected


def test_pairs_of_unsuitable_models_are_classified(stub: ClassifyServiceStub) -> None:
    """Classify with a text_pair stays as it is for models that cannot rank."""
    [outcome] = pairs(stub, ["good"], "gpt2")

    assert outcome.classification.scores
