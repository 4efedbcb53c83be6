"""Replacing a model while it serves calls."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire import Classification, Client, StreamItem
from classwire.admin.v1 import admin_pb2 as pb
from classwire.v1 import classwire_pb2
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.admin.operator import Operator, refusal
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.open_inference import wire
from tests.open_inference.wire import request

Operate = Callable[[Server], Operator]
Fake = Callable[..., Server]
Connect = Callable[[str], grpc.Channel]

TEXT = "I really love this book"
SWAPS = 2


def text(value: str) -> classwire_pb2.ClassifyRequest:
    """Return a bulk request."""
    return classwire_pb2.ClassifyRequest(
        input=classwire_pb2.TextInput(text=value),
        options=classwire_pb2.ClassifyOptions(priority=classwire_pb2.PRIORITY_BULK),
    )


def begin_calls(calls: Any, engine: FakeEngine, operator: Operator) -> list[Any]:
    """Begin five calls. The engine runs the first ones, the others are queued."""
    begun = [calls.Classify.future(text(f"slow {n}"), timeout=PATIENCE_S) for n in range(5)]
    engine.wait_for(lambda engine: bool(engine.texts))
    assert eventually(lambda: operator.status().models[0].calls_in_flight == len(begun))
    assert eventually(lambda: operator.status().models[0].waiting_texts >= 3)
    return begun


def test_no_call_fails_during_swaps(
    server: Server, operator: Operator, red: Path, blue: Path
) -> None:
    """Unary calls, batches and a stream go on while two checkpoints are swapped, without retries.
    Every answer has the labels and scores of the fingerprint that it names.
    """
    with Client(server.target) as client:
        right = {}
        for folder in (blue, red):
            fingerprint = operator.reload("m", folder).fingerprint
            answer = client.classify(TEXT)
            assert answer.model.fingerprint == fingerprint
            right[fingerprint] = {score.label: score.score for score in answer.scores}
        assert len(right) == 2

    over = threading.Event()
    answers: list[Classification] = []

    def keep(outcome: object) -> None:
        assert isinstance(outcome, Classification), outcome
        answers.append(outcome)

    def unary() -> None:
        with Client(server.target, retry=False) as client:
            while not over.is_set():
                keep(client.classify(TEXT))

    def batches() -> None:
        with Client(server.target, retry=False) as client:
            while not over.is_set():
                for outcome in client.classify_batch([TEXT] * 4):
                    keep(outcome)

    def items() -> Iterator[StreamItem]:
        for number in itertools.count():
            if over.is_set():
                return
            yield StreamItem(str(number), TEXT)

    def stream() -> None:
        with Client(server.target) as client:
            for _, _, outcome in client.classify_stream(items()):
                keep(outcome)

    with ThreadPoolExecutor() as callers:
        calls = [callers.submit(call) for call in (unary, unary, batches, stream)]
        for folder in itertools.islice(itertools.cycle((blue, red)), SWAPS):
            before = len(answers)
            assert eventually(lambda before=before: len(answers) > before + 5)  # type: ignore[misc]
            assert not [call for call in calls if call.done()]
            operator.reload("m", folder)
        over.set()
        for call in calls:
            call.result(PATIENCE_S)

    seen = {answer.model.fingerprint for answer in answers}
    assert seen == set(right)
    for answer in answers:
        scores = {score.label: score.score for score in answer.scores}
        assert scores == pytest.approx(right[answer.model.fingerprint], abs=1e-5)


@pytest.mark.parametrize(
    "problem", ["no such folder", "has no weights", "not finite", "label 0 of its id2label"]
)
def test_a_broken_checkpoint_leaves_the_old_one(
    server: Server, operator: Operator, broken: dict[str, Path], problem: str
) -> None:
    """Nothing changes, and the error gives the reason: missing weights, a wrong folder, a model
    that fails its check, or invalid labels.
    """
    before = operator.status().models[0].model
    with pytest.raises(grpc.RpcError) as failed:
        operator.reload("m", broken[problem])
    code, reason, message, _ = refusal(failed.value)
    assert (code, reason) == ("FAILED_PRECONDITION", "BAD_CHECKPOINT")
    assert problem in message
    assert operator.status().models[0].model == before
    assert not operator.status().HasField("change")
    with Client(server.target) as client:
        assert client.classify(TEXT).model.fingerprint == before.fingerprint


def test_calls_in_flight_end_on_the_old_model(
    fake: Fake, operate: Operate, connect: Connect, blue: Path
) -> None:
    """New calls go to the new model at once. The old one is freed after its last answer."""
    old, new = FakeEngine((0, 1)), FakeEngine((0, 1))
    server = fake(old, new, batch_tokens=8)
    operator, calls = operate(server), ClassifyServiceStub(connect(server.target))
    before = operator.status().models[0].model
    begun = begin_calls(calls, old, operator)

    changing = operator.begin_reload("m", blue)
    assert [next(changing).stage, next(changing).stage] == [
        pb.CHANGE_STAGE_LOADING,
        pb.CHANGE_STAGE_FINISHING,
    ]

    answer = calls.Classify(text("quick"), timeout=PATIENCE_S)
    status = operator.status()
    assert answer.model.fingerprint == status.models[0].model.fingerprint != before.fingerprint
    assert status.models[0].model.labels == ["blue", "not blue"]
    assert (status.change.model, status.change.stage) == ("m", pb.CHANGE_STAGE_FINISHING)
    assert new.texts == ["quick"]
    assert not old.closed
    old.release()
    assert next(changing).stage == pb.CHANGE_STAGE_DONE
    assert old.closed
    for call in begun:
        answered = call.result(PATIENCE_S)
        assert answered.model.fingerprint == before.fingerprint
        assert {score.label for score in answered.result.scores} == {"red", "not red"}


def test_an_open_stream(fake: Fake, operate: Operate, connect: Connect, blue: Path) -> None:
    """The old model answers what was read, then the stream ends with DRAINING.

    A new stream uses the new model.
    """
    old = FakeEngine((0, 1))
    server = fake(old, FakeEngine((0, 1)))
    operator = operate(server)
    channel = connect(server.target)
    with Conversation(channel) as stream:
        started = stream.read_started()
        stream.send_items(item("1", "slow"))
        old.wait_for(lambda engine: engine.texts == ["slow"])
        changing = operator.begin_reload("m", blue)
        assert [next(changing).stage for _ in range(2)][-1] == pb.CHANGE_STAGE_FINISHING
        old.release()
        results = stream.read().results
        assert [result.id for result in results.results] == ["1"]
        assert results.model.fingerprint == started.model.fingerprint
        with pytest.raises(grpc.RpcError) as ended:
            stream.read()
        assert refusal(ended.value)[:2] == ("UNAVAILABLE", "DRAINING")
        assert next(changing).stage == pb.CHANGE_STAGE_DONE
    with Conversation(channel) as stream:
        assert stream.read_started().model.fingerprint != started.model.fingerprint


def test_an_open_inference_stream(
    fake: Fake, operate: Operate, connect: Connect, blue: Path
) -> None:
    """A stream ends with a model that it has used. A stream that has used none goes on."""
    server = fake(FakeEngine((0, 1)), FakeEngine((0, 1)))
    operator, channel = operate(server), connect(server.target)
    with wire.Talk(channel) as user, wire.Talk(channel) as other:
        user.send(request(TEXT, model="m"))
        assert user.read().infer_response.outputs
        other.send(request(TEXT, model="nobody"))
        assert other.read().error_message.startswith("UNKNOWN_MODEL")
        operator.reload("m", blue)
        with pytest.raises(grpc.RpcError) as ended:
            user.read()
        assert refusal(ended.value)[:2] == ("UNAVAILABLE", "DRAINING")
        other.send(request(TEXT, model="m"))
        assert other.read().infer_response.outputs


def test_the_drain_timeout_of_a_swap(
    fake: Fake, operate: Operate, connect: Connect, blue: Path
) -> None:
    """After --drain-timeout-s, calls still queued for the old model end with DRAINING."""
    old = FakeEngine((0, 1))
    server = fake(old, FakeEngine((0, 1)), drain_timeout_s=0.05, batch_tokens=8)
    operator, calls = operate(server), ClassifyServiceStub(connect(server.target))
    begun = begin_calls(calls, old, operator)
    changing = operator.begin_reload("m", blue)
    assert [next(changing).stage for _ in range(2)][-1] == pb.CHANGE_STAGE_FINISHING
    assert eventually(lambda: sum(call.done() for call in begun) >= 3)
    old.release()
    assert next(changing).stage == pb.CHANGE_STAGE_DONE
    failures = [error for call in begun if (error := call.exception(PATIENCE_S)) is not None]
    assert {refusal(error)[:2] for error in failures} == {("UNAVAILABLE", "DRAINING")}
    assert len(begun) - len(failures) == len(old.texts) > 0
