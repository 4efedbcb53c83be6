"""Callers and servers of different versions of the contract work together."""

from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest

from classwire import Classification, Client
from classwire.v1 import classwire_pb2 as pb
from classwire_server.server import Server
from classwire_server.service.models import FEATURES
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.contract.later import LATER, later, later_server

TEXT = pb.TextInput(text="I love it", text_pair="really")
OPTIONS = pb.ClassifyOptions(
    top_k=3, min_score=0.0, activation=pb.ACTIVATION_SIGMOID, include_tokens=True
)
REQUESTS = {
    "ClassifyService/Classify": pb.ClassifyRequest(input=TEXT, options=OPTIONS),
    "ClassifyService/BatchClassify": pb.BatchClassifyRequest(inputs=[TEXT] * 2, options=OPTIONS),
    "ClassifyService/Tokenize": pb.TokenizeRequest(input=TEXT),
    "ClassifyService/Rank": pb.RankRequest(
        query="love", documents=["it"], options=pb.RankOptions(label="1 star", top_k=1)
    ),
    "ModelService/ListModels": pb.ListModelsRequest(page_size=1),
    "ModelService/GetModel": pb.GetModelRequest(name="tiny"),
    "ModelService/GetServerInfo": pb.GetServerInfoRequest(),
}
METHODS = {
    "classify": "Classify",
    "batch_classify": "BatchClassify",
    "stream_classify": "StreamClassify",
    "tokenize": "Tokenize",
    "rank": "Rank",
    "zero_shot_classify": "ZeroShotClassify",
}


@pytest.fixture
def server(fake: Callable[..., Server]) -> Server:
    """A server whose scores do not depend on batching."""
    return fake(FakeEngine())


@pytest.fixture
def channel(server: Server, connect: Callable[[str], grpc.Channel]) -> grpc.Channel:
    """A channel to the server."""
    return connect(server.target)


def timeless(kind: Any, raw: bytes) -> Any:
    """An answer without its timing."""
    answer = kind.FromString(raw)
    if "timing" in answer.DESCRIPTOR.fields_by_name:
        answer.ClearField("timing")
    return answer


@pytest.mark.parametrize("method", REQUESTS)
def test_calls_of_a_later_caller(channel: grpc.Channel, method: str) -> None:
    """Unknown fields at any depth do not change the answer."""
    request = REQUESTS[method]
    answers: Any = getattr(pb, type(request).__name__.replace("Request", "Response"))
    call: Any = channel.unary_unary(f"/classwire.v1.{method}")

    now, then = (
        timeless(answers, call(raw, timeout=PATIENCE_S))
        for raw in (request.SerializeToString(), later(request))
    )

    assert then == now


def test_a_stream_of_a_later_caller(converse: Callable[..., Conversation]) -> None:
    """Unknown fields in the messages of a stream change nothing."""
    stream = converse(start=False)
    stream.send(later(pb.StreamClassifyRequest(config=pb.StreamConfig(options=OPTIONS))))
    items = pb.StreamItems(items=[item("a", "I love it")])
    stream.send(later(pb.StreamClassifyRequest(items=items)))

    stream.read_started()
    (result,) = stream.read_results(1)

    assert len(result.outcome.classification.scores) == 3


def test_a_later_server(channel: grpc.Channel, server: Server) -> None:
    """The library ignores unknown fields, and gives unknown enum values as their numbers."""
    texts = ["I love it", "", "so so"]
    with later_server(channel) as target, Client(target) as ahead, Client(server.target) as level:
        one, expected = ahead.classify(texts[0]), level.classify(texts[0])
        batch, stream = ahead.classify_batch(texts), list(ahead.classify_stream(texts))
        tokens, model, info = ahead.tokenize(texts[0]), ahead.model(), ahead.server_info()

        assert one.scores == expected.scores
        assert (one.activation, one.model.precision) == (str(LATER), str(LATER))
        for outcomes in (batch, [result.outcome for result in sorted(stream)]):
            assert [type(each).__name__ for each in outcomes] == [
                "Classification", "InvalidInputError", "Classification",
            ]  # fmt: skip
            assert isinstance(outcomes[0], Classification)
            assert outcomes[0].scores == expected.scores
        assert tokens.tokens == level.tokenize(texts[0]).tokens
        assert (model.state, model.labels) == (str(LATER), level.model().labels)
        assert info == level.server_info()


def test_features(channel: grpc.Channel) -> None:
    """GetServerInfo lists every method as a feature; other methods are UNIMPLEMENTED."""
    ask: Any = channel.unary_unary("/classwire.v1.ModelService/GetServerInfo")
    info = pb.GetServerInfoResponse.FromString(ask(b"", timeout=PATIENCE_S))

    def is_there(method: str) -> bool:
        call: Any = channel.stream_stream(f"/classwire.v1.ClassifyService/{method}")
        try:
            return bool(list(call(iter([b""]), timeout=PATIENCE_S)))
        except grpc.RpcError as error:
            return cast(grpc.Call, error).code() is grpc.StatusCode.INVALID_ARGUMENT

    assert tuple(info.features) == FEATURES
    service = pb.DESCRIPTOR.services_by_name["ClassifyService"]
    assert {METHODS[name] for name in info.features if name in METHODS} == {
        method.name for method in service.methods
    }
    assert all(map(is_there, METHODS.values()))
    assert not is_there("SummarizeLater")
