"""ModelInfer: texts in, tensors out, with the scores of Classwire's own RPCs."""

import math
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest

from classwire.v1 import classwire_pb2
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.open_inference import inference_pb2 as pb
from classwire_server.server import Server
from tests.checkpoints import STARS
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET
from tests.contract.test_busy import waiting
from tests.open_inference.wire import Stub, output, request

TEXTS = ("I really love this book", "这本书很好 😀", "Das Buch ist gut", "cold, and the staff rude")
PAIRS = ("It was good", "ok", "x", "nothing special")
LABELS = {"tiny": STARS, "multi": ("good", "bad", "Straße"), "value": ("value",)}


def own_scores(channel: grpc.Channel, model: str, pairs: tuple[str, ...] | None) -> np.ndarray:
    """The scores of BatchClassify, in the order of the label ids: (texts, labels)."""
    inputs = [
        classwire_pb2.TextInput(text=text, text_pair=pairs[number] if pairs else None)
        for number, text in enumerate(TEXTS)
    ]
    batch = ClassifyServiceStub(channel).BatchClassify(
        classwire_pb2.BatchClassifyRequest(inputs=inputs, model=model), timeout=PATIENCE_S
    )
    rows = []
    for outcome in batch.outcomes:
        scores = {score.label_id: score.score for score in outcome.classification.scores}
        rows.append([scores[label_id] for label_id in sorted(scores)])
    return np.array(rows, np.float32)


@pytest.mark.parametrize("model", LABELS)
@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["texts", "pairs"])
def test_scores_are_those_of_batch_classify(
    stub: Stub, channel: grpc.Channel, model: str, pairs: tuple[str, ...] | None
) -> None:
    """Scores are equal bit for bit, for each activation; label and label_id are the highest."""
    response = stub.ModelInfer(request(*TEXTS, model=model, pairs=pairs))

    scores = output(response, "scores")
    expected = own_scores(channel, model, pairs)
    assert scores.tobytes() == expected.tobytes()
    assert scores.shape == (4, len(LABELS[model]))
    label_ids = expected.argmax(axis=1).tolist()
    assert output(response, "label_id").tolist() == label_ids
    labels = [text.decode() for text in output(response, "label")]
    assert labels == [LABELS[model][label_id] for label_id in label_ids]


@pytest.mark.parametrize("shape", [[4], [4, 1]], ids=str)
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "contents"])
def test_every_form_of_a_request(stub: Stub, shape: list[int], raw: bool) -> None:
    """Raw or typed contents, of either shape, get the same answer, in raw contents."""
    response = stub.ModelInfer(request(*TEXTS, shape=shape, raw=raw, id="r", model_version="1"))

    assert response == stub.ModelInfer(request(*TEXTS, id="r"))
    assert (response.id, response.model_name, response.model_version) == ("r", "tiny", "1")
    assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [
        ("scores", "FP32", [4, 5]),
        ("label", "BYTES", [4]),
        ("label_id", "INT32", [4]),
    ]
    assert len(response.raw_output_contents) == 3
    assert not any(tensor.HasField("contents") for tensor in response.outputs)
    assert not response.parameters


def test_requested_outputs(stub: Stub) -> None:
    """The response has the requested outputs, in their order, each once."""
    message = request(*TEXTS)
    for name in ("label", "scores", "label"):
        message.outputs.add(name=name)

    response = stub.ModelInfer(message)

    assert [tensor.name for tensor in response.outputs] == ["label", "scores"]
    everything = stub.ModelInfer(request(*TEXTS))
    for name in ("label", "scores"):
        assert output(response, name).tolist() == output(everything, name).tolist()


@pytest.mark.parametrize("classes", [1, 2, 3, 1_000])
def test_classification(stub: Stub, classes: int) -> None:
    """The highest classes of each text, in Triton's format, at most all labels."""
    message = request(*TEXTS, model="multi")
    message.outputs.add(name="scores").parameters["classification"].int64_param = classes

    response = stub.ModelInfer(message)

    scores = output(stub.ModelInfer(request(*TEXTS, model="multi")), "scores")
    [tensor] = response.outputs
    count = min(classes, 3)
    assert (tensor.datatype, list(tensor.shape)) == ("BYTES", [4, count])
    for row, found in zip(scores, output(response, "scores"), strict=True):
        best = sorted(range(3), key=lambda label_id: -row[label_id])[:count]
        expected = ["%f:%d:%s" % (row[i], i, LABELS["multi"][i]) for i in best]  # noqa: UP031
        assert [text.decode() for text in found] == expected


@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("shape", [[0], [0, 1]], ids=str)
def test_no_texts(stub: Stub, shape: list[int], raw: bool, classes: int) -> None:
    """A request without texts gets tensors without elements."""
    message = request(shape=shape, raw=raw)
    for name in ("scores", "label", "label_id"):
        message.outputs.add(name=name)
    if classes:
        message.outputs[0].parameters["classification"].int64_param = classes

    response = stub.ModelInfer(message)

    shapes = [list(tensor.shape) for tensor in response.outputs]
    assert shapes == [[0, classes or 5], [0], [0]]
    assert list(response.raw_output_contents) == [b""] * 3


def test_truncated_tokens(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """When the server truncates, the response has the number of dropped tokens of all texts."""
    stub = Stub(connect(fake(FakeEngine(), truncation="drop_end").target))

    response = stub.ModelInfer(request("book " * 520, "book", "book " * 511))

    dropped = response.parameters["truncated_tokens"].int64_param
    assert dropped == (520 + 2 - 512) + (511 + 2 - 512)
    assert not stub.ModelInfer(request("book")).parameters


def parameters(**values: int) -> dict[str, pb.InferParameter]:
    """Integer parameters."""
    return {name: pb.InferParameter(int64_param=value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("given", "is_urgent"),
    [({}, True), ({"priority": 1}, True), ({"priority": 2}, False), ({"priority": 7}, True)],
    ids=str,
)
def test_priorities(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    given: dict[str, int],
    is_urgent: bool,
) -> None:
    """Priority 1 runs next to bulk work in flight, 2 after it; other values mean the default, 1."""
    engine = FakeEngine()
    server = fake(engine)
    channel = connect(server.target)
    method: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    bulk = request("slow", parameters={"priority": pb.InferParameter(uint64_param=2)})
    calls = [method.future(bulk.SerializeToString(), timeout=PATIENCE_S)]
    engine.wait_for(lambda engine: engine.texts == ["slow"])

    quick = request("quick", parameters=parameters(**given))
    calls.append(method.future(quick.SerializeToString(), timeout=PATIENCE_S))

    if is_urgent:
        engine.wait_for(lambda engine: engine.texts == ["slow", "quick"])
    else:
        assert eventually(lambda: waiting(server) == 1)
    engine.release()
    for call in calls:
        call.result()
    assert engine.urgent == [False, is_urgent]


@pytest.mark.parametrize("timeout_us", [50_000, 0])
def test_timeouts(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel], timeout_us: int
) -> None:
    """A request whose timeout passes in the queue gets DEADLINE_EXCEEDED; 0 means no timeout."""
    engine = FakeEngine()
    server = fake(engine)
    channel = connect(server.target)
    method: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    held = method.future(request(f"slow {SECRET}").SerializeToString(), timeout=PATIENCE_S)
    engine.wait_for(lambda engine: bool(engine.texts))

    waits = request(SECRET, parameters=parameters(timeout=timeout_us))
    call = method.future(waits.SerializeToString(), timeout=PATIENCE_S)

    if timeout_us:
        assert call.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED
        engine.release()
    else:
        assert eventually(lambda: waiting(server) == 1)
        engine.release()
        assert call.result()
    assert held.result()


def test_defects_are_no_scores(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """A NaN logit is INTERNAL, which names the text and the model's logits."""
    stub = Stub(connect(fake(FakeEngine()).target))

    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(request("fine", "nan"))

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert str(caught.value.details()).startswith(
        "text[1]: the model's logits for this text are NaN"
    )
    assert not math.isnan(output(stub.ModelInfer(request("fine")), "scores").sum())
