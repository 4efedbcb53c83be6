"""Answers name the engine that computed them, also while a compiled engine takes over."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.engine import ANY_TIME, Execution, Logits, Terms
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine

PLAIN, COMPILED = pb.EXECUTION_PLAIN, pb.EXECUTION_COMPILED


class ChangingEngine(FakeEngine):
    """Reports that it computed texts with the word `compiled` compiled, all others plain."""

    def __init__(self) -> None:
        super().__init__()
        self.lanes = 2

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        logits = super().infer(encodings, terms)
        if "compiled" not in encodings[0].source.text:
            return logits
        return replace(logits, traits=replace(self.traits, execution=Execution.COMPILED))


@pytest.fixture
def engine() -> ChangingEngine:
    """An engine that is plain and compiled."""
    return ChangingEngine()


@pytest.fixture
def channel(
    engine: ChangingEngine, fake: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> grpc.Channel:
    """A channel to a server with that engine."""
    return connect(fake(engine, batch_tokens=1).target)


def test_calls(channel: grpc.Channel) -> None:
    """A call names the engine of its text, a batch the engine of its last text with scores."""
    stub = ClassifyServiceStub(channel)

    def batch(*texts: str) -> pb.Execution.ValueType:
        request = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in texts])
        return stub.BatchClassify(request, timeout=PATIENCE_S).model.engine.execution

    for text, execution in (("plain", PLAIN), ("compiled", COMPILED)):
        request = pb.ClassifyRequest(input=pb.TextInput(text=text))
        assert stub.Classify(request, timeout=PATIENCE_S).model.engine.execution == execution
    assert batch("plain", "compiled") == COMPILED
    assert batch("compiled", "plain") == PLAIN
    assert batch("plain", "compiled", " ") == COMPILED
    assert batch(" ") == PLAIN  # the current engine


def test_streams(channel: grpc.Channel, engine: ChangingEngine) -> None:
    """A results message has errors and the results of one engine only."""
    with Conversation(channel, ordering=pb.ORDERING_IN_ORDER) as stream:
        stream.read_started()
        texts = {"a": "slow plain", "b": "plain", "c": " ", "d": "compiled", "e": "plain 1"}
        stream.send_items(*(item(item_id, text) for item_id, text in texts.items()))
        engine.wait_for(lambda engine: len(engine.texts) == 4)
        stream.half_close()
        engine.release()

        messages: list[pb.StreamResults] = []
        while [result.id for message in messages for result in message.results] != list(texts):
            messages.append(stream.read().results)

    for message in messages:
        computed = {
            COMPILED if texts[result.id] == "compiled" else PLAIN
            for result in message.results
            if result.outcome.HasField("classification")
        }
        assert computed <= {message.model.engine.execution}
    assert "abc" in ["".join(result.id for result in message.results) for message in messages]
