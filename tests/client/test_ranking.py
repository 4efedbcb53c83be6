"""`rank` and `zero_shot` of both clients, against a fake server."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from classwire import (
    CandidateScore,
    InternalError,
    InvalidInputError,
    OverloadedError,
    Ranking,
    Reason,
    UnimplementedError,
    ZeroShotClassification,
)
from classwire._calls import ranking
from classwire._calls.steps import Reply
from classwire.testing import FakeServer
from classwire.testing.script import Script
from classwire.v1 import classwire_pb2 as pb

MakeClient = Callable[..., Any]
DOCUMENTS = ["bb", "a", "dddd", "ccc"]


def by_length_of_pair(text: str, text_pair: str | None) -> dict[str, float]:
    """Return the pair's length, as the score of the only label."""
    return {"relevant": len(text_pair or "") / 100}


def entailed(text: str, text_pair: str | None) -> dict[str, float]:
    """Return how much of the hypothesis's last word the text has."""
    share = 0.75 if text_pair and text_pair.split()[-1].strip(".") in text else 0.25
    return {"contradiction": 1 - share, "entailment": share}


@pytest.fixture
def ranker() -> Iterator[FakeServer]:
    """A fake model with one label."""
    with FakeServer(by_length_of_pair) as running:
        yield running


@pytest.fixture
def reasoner() -> Iterator[FakeServer]:
    """A fake model of natural language inference."""
    with FakeServer(entailed) as running:
        yield running


def test_documents_come_by_score(make_client: MakeClient, ranker: FakeServer) -> None:
    """`rank` returns documents by score, highest first, with the index of each."""
    client = make_client(ranker.target)
    ranking = client.rank("query", DOCUMENTS, metadata={"x-request-id": "mine"})
    assert isinstance(ranking, Ranking)
    assert [result.index for result in ranking.results] == [2, 3, 0, 1]
    assert ranking.results[0].score == pytest.approx(0.04)
    assert (ranking.results[0].token_count, ranking.results[0].window_count) == (2, 1)
    assert (ranking.failures, ranking.model.name, ranking.request_id) == ((), "fake", "mine")
    assert [each.index for each in client.rank("query", DOCUMENTS, top_k=2).results] == [2, 3]
    best = client.rank("query", DOCUMENTS, min_score=0.025)
    assert [each.index for each in best.results] == [2, 3]
    assert client.rank("query", []).results == ()


def test_rank_options_go_over_the_wire(make_client: MakeClient, ranker: FakeServer) -> None:
    """Each option of `rank` reaches the server as the contract's field."""
    options: dict[str, Any] = {"label": "relevant", "truncation": "windows", "window_tokens": 9}
    options |= {"activation": "sigmoid", "priority": "bulk", "aggregation": "mean_logits"}
    make_client(ranker.target).rank("query", iter(DOCUMENTS), model="fake", top_k=1, **options)
    (request,) = ranker.requests
    assert request == pb.RankRequest(
        query="query",
        documents=DOCUMENTS,
        model="fake",
        options=pb.RankOptions(
            top_k=1,
            label="relevant",
            activation=pb.ACTIVATION_SIGMOID,
            truncation=pb.TRUNCATION_WINDOWS,
            windows=pb.WindowOptions(
                window_tokens=9, aggregation=pb.WINDOW_AGGREGATION_MEAN_LOGITS
            ),
            priority=pb.PRIORITY_BULK,
        ),
    )


def test_a_document_that_cannot_be_scored_fails_alone(
    make_client: MakeClient, ranker: FakeServer
) -> None:
    """A bad document fails under its own index and path, whether client or server rejects it."""
    ranker.fail_text("long", Reason.TOO_MANY_TOKENS)
    documents: list[Any] = ["\ud800", "good", None, "long", " ", "better"]
    ranking = make_client(ranker.target).rank("query", documents)
    assert [result.index for result in ranking.results] == [5, 1]
    assert [(each.index, each.error.reason, each.error.field) for each in ranking.failures] == [
        (0, Reason.BAD_ENCODING, "documents[0]"),
        (2, Reason.BAD_ENCODING, "documents[2]"),
        (3, Reason.TOO_MANY_TOKENS, "documents[3]"),
        (4, Reason.EMPTY_TEXT, "documents[4]"),
    ]


def test_other_errors_end_a_ranking(make_client: MakeClient, ranker: FakeServer) -> None:
    """A bad query, or a document that a retry might help, ends the call."""
    client = make_client(ranker.target, retry=False)
    with pytest.raises(InvalidInputError) as raised:
        client.rank(" ", DOCUMENTS)
    assert raised.value.field == "query"
    ranker.fail_text("a", Reason.OVERLOADED)
    with pytest.raises(OverloadedError):
        client.rank("query", DOCUMENTS)
    for documents in ("one text", b"bytes"):
        with pytest.raises(TypeError):
            client.rank("query", documents)


def test_a_result_of_no_document_is_a_defect() -> None:
    """An index outside of the documents breaks the contract."""
    steps = ranking.rank("query", ["document"], None, pb.RankOptions())
    next(steps)
    response = pb.RankResponse(results=[pb.RankedDocument(index=1)])
    with pytest.raises(InternalError, match="broke the contract"):
        steps.send(Reply(response))


def test_candidates_come_by_score(make_client: MakeClient, reasoner: FakeServer) -> None:
    """`zero_shot` returns candidates by score, with the index of each; ties keep their order."""
    client = make_client(reasoner.target)
    result = client.zero_shot("the delivery is late", ["billing", "delivery", "praise"])
    assert isinstance(result, ZeroShotClassification)
    assert (result.label, result.score, result.window_count) == ("delivery", 0.75, 1)
    assert result.scores == (
        CandidateScore("delivery", 1, 0.75),
        CandidateScore("billing", 0, 0.25),
        CandidateScore("praise", 2, 0.25),
    )
    none = client.zero_shot("text", ["billing"], min_score=0.5)
    assert (none.scores, none.label, none.score) == ((), None, None)


def test_zero_shot_options_go_over_the_wire(make_client: MakeClient, reasoner: FakeServer) -> None:
    """Each option of `zero_shot` reaches the server as the contract's field."""
    options: dict[str, Any] = {"truncation": "windows", "overlap_tokens": 5, "priority": "bulk"}
    options |= {"hypothesis_template": "It is {}.", "multi_label": True, "top_k": 1}
    make_client(reasoner.target).zero_shot("text", ("a", "b"), model="fake", **options)
    (request,) = reasoner.requests
    assert request == pb.ZeroShotClassifyRequest(
        text="text",
        candidate_labels=["a", "b"],
        model="fake",
        options=pb.ZeroShotOptions(
            hypothesis_template="It is {}.",
            multi_label=True,
            top_k=1,
            truncation=pb.TRUNCATION_WINDOWS,
            windows=pb.WindowOptions(overlap_tokens=5),
            priority=pb.PRIORITY_BULK,
        ),
    )


@pytest.mark.parametrize(
    ("arguments", "options", "error"),
    [
        (("text", "a,b"), {}, TypeError),
        (("text", ["a", 7]), {}, TypeError),
        (("text", ["\ud800"]), {}, InvalidInputError),
        (("text", ["a"]), {"hypothesis_template": ""}, InvalidInputError),
        (("text", ["a"]), {"top_k": 0}, InvalidInputError),
        (("", ["a"]), {}, InvalidInputError),
    ],
)
def test_wrong_arguments_of_zero_shot(
    make_client: MakeClient, reasoner: FakeServer, arguments: Any, options: Any, error: Any
) -> None:
    """A wrong argument is an error that names it."""
    with pytest.raises(error, match=r"texts|candidate_labels\[|hypothesis_template|top_k|text"):
        make_client(reasoner.target).zero_shot(*arguments, **options)


def test_a_model_that_cannot_do_it_is_named(client: Any) -> None:
    """A model without an entailment label is UNSUITABLE_MODEL; one with several labels needs one to
    rank by.
    """
    with pytest.raises(InvalidInputError) as raised:
        client.zero_shot("text", ["a"])
    assert (raised.value.reason, raised.value.field) == (Reason.UNSUITABLE_MODEL, "model")
    with pytest.raises(InvalidInputError) as raised:
        client.rank("text", ["a"])
    assert (raised.value.reason, raised.value.field) == (Reason.BAD_OPTION, "options.label")
    assert client.rank("text", ["a"], label="pair").results[0].score == 0.25


def test_both_calls_are_retried(make_client: MakeClient, reasoner: FakeServer) -> None:
    """The client retries both calls as all others: UNAVAILABLE, and an overload with a time."""
    client = make_client(reasoner.target)
    asks: list[Callable[[], Any]] = [
        lambda: client.zero_shot("text", ["a"]),
        lambda: client.rank("text", ["a"], label="entailment"),
    ]
    for ask in asks:
        reasoner.fail_next(Reason.LOADING, times=3)
        reasoner.fail_next(Reason.OVERLOADED, retry_after_s=0.01)
        calls = len(reasoner.calls)
        ask()
        assert len(reasoner.calls) == calls + 5


def test_an_older_server_says_that_it_is_older(
    make_client: MakeClient, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """UNIMPLEMENTED, gRPC's own error for a method that the server lacks, names the server's
    version, the cause and the method.
    """

    def begin(script: Script, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    monkeypatch.setattr(Script, "begin", begin)
    client = make_client(server.target)
    older = r"Classwire 0\.0\.0, is older than this client: it has no "
    with pytest.raises(UnimplementedError, match=older + "Rank$") as raised:
        client.rank("query", ["document"])
    assert raised.value.reason is None
    with pytest.raises(UnimplementedError, match=older + "ZeroShotClassify$"):
        client.zero_shot("text", ["label"])


def test_a_server_of_something_else_is_not_called_older(make_client: MakeClient) -> None:
    """A gRPC server without any method of Classwire's may be another port, or another program."""
    server = grpc.server(ThreadPoolExecutor(1))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with pytest.raises(UnimplementedError, match="or another gRPC server"):
            make_client(target).rank("query", ["document"])
    finally:
        server.stop(None).wait()
