"""gRPC's own errors, which have no ErrorInfo, unknown models, and batch sizes."""

from collections.abc import Callable

import grpc
import pytest
from grpc_status import rpc_status

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import SECRET, Failure, refusal

UNKNOWN_MODEL = grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL"


def test_messages_above_the_limit(
    classifier: ClassifyServiceStub, classify: Classify, converse: Callable[..., Conversation]
) -> None:
    """Messages over max_message_bytes get gRPC's own RESOURCE_EXHAUSTED, in calls and streams."""
    text = pb.TextInput(text="a" * (5_000_000))
    stream = converse()
    stream.read_started()
    stream.send_items(pb.StreamItem(id="a", input=text))

    for call in (
        lambda: classifier.Classify(pb.ClassifyRequest(input=text), timeout=PATIENCE_S),
        stream.read,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert rpc_status.from_call(caught.value) is None
    assert classify("I love it").result.scores


def test_messages_below_the_limit(classifier: ClassifyServiceStub) -> None:
    """A message of several megabytes is read; each too large text gets its own error."""
    inputs = [pb.TextInput(text="a" * 250_000)] * 16

    answer = classifier.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)

    assert {outcome.error.reason for outcome in answer.outcomes} == {"TEXT_TOO_LARGE"}


@pytest.mark.parametrize(
    "method",
    [
        "/classwire.v1.ClassifyService/Summarize",
        "/classwire.v1.NoService/Classify",
        "/classwire.v2.ClassifyService/Classify",
    ],
)
def test_unknown_methods(channel: grpc.Channel, method: str) -> None:
    """Unknown methods and services are UNIMPLEMENTED."""
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)

    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=PATIENCE_S)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert rpc_status.from_call(caught.value) is None


@pytest.mark.parametrize("name", [SECRET, "TINY", "tiny ", "../tiny", "x" * 10_000])
def test_unknown_models(
    classifier: ClassifyServiceStub,
    models: ModelServiceStub,
    classify: Classify,
    converse: Callable[..., Conversation],
    name: str,
) -> None:
    """Every RPC that names an unknown model gets UNKNOWN_MODEL with the field."""
    text = pb.TextInput(text=SECRET)

    def of(field: str) -> Failure:
        return Failure(*UNKNOWN_MODEL, field)

    unary = pb.ClassifyRequest(input=text, model=name)
    batch = pb.BatchClassifyRequest(inputs=[text], model=name)
    tokenize = pb.TokenizeRequest(input=text, model=name)
    get = pb.GetModelRequest(name=name)
    stream = converse(model=name)
    assert refusal(lambda: classifier.Classify(unary, timeout=PATIENCE_S)) == of("model")
    assert refusal(lambda: classifier.BatchClassify(batch, timeout=PATIENCE_S)) == of("model")
    assert refusal(lambda: classifier.Tokenize(tokenize, timeout=PATIENCE_S)) == of("model")
    assert refusal(lambda: models.GetModel(get, timeout=PATIENCE_S)) == of("name")
    assert refusal(stream.read) == of("config.model")
    assert classify("I love it").result.scores


def test_too_many_texts(classifier: ClassifyServiceStub, classify: Classify) -> None:
    """A batch over the limit gets TOO_MANY_ITEMS as a whole."""
    inputs = [pb.TextInput(text=SECRET)] * 17

    failure = refusal(
        lambda: classifier.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)
    )

    assert failure == Failure(
        grpc.StatusCode.INVALID_ARGUMENT,
        "TOO_MANY_ITEMS",
        "inputs",
        {"items": "17", "max_items": "16"},
    )
    within = pb.BatchClassifyRequest(inputs=inputs[:16])
    assert len(classifier.BatchClassify(within, timeout=PATIENCE_S).outcomes) == 16
    assert classify("I love it").result.scores


def test_batches_of_no_texts(classifier: ClassifyServiceStub) -> None:
    """A batch without texts is legal; its answer has no outcomes, and names the model."""
    answer = classifier.BatchClassify(pb.BatchClassifyRequest(), timeout=PATIENCE_S)

    assert not answer.outcomes
    assert answer.model.name == "tiny"
