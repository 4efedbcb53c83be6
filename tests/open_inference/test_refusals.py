"""Bad requests: a call gets a status, a stream a response with an error message."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from classwire_server.open_inference import inference_pb2 as pb
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET, Failure, invalid, refusal
from tests.contract.test_busy import waiting
from tests.open_inference.wire import SERVICE, Stub, Talk, raw_bytes, request

Connect = Callable[[str], grpc.Channel]


def changed(change: Callable[[pb.ModelInferRequest], Any], **given: Any) -> pb.ModelInferRequest:
    """A request for two texts, after `change`."""
    message = request(SECRET, "good", **given)
    change(message)
    return message


def parameter(where: str, name: str, **value: Any) -> pb.ModelInferRequest:
    """A request with a parameter, of itself, an input or an output."""
    message = request(SECRET, "good")
    message.outputs.add(name="scores")
    places: dict[str, Any] = {"": message, "inputs": message.inputs, "outputs": message.outputs}
    owner = places[where][0] if where else message
    owner.parameters[name].CopyFrom(pb.InferParameter(**value))
    return message


def add_one_pair(message: pb.ModelInferRequest) -> None:
    """Add a pair for one text."""
    message.inputs.add(name="text_pair", datatype="BYTES", shape=[1])
    message.raw_input_contents.append(raw_bytes(b"x"))


def unknown_model(field: str) -> Failure:
    """The failure for a model that the server does not have."""
    return Failure(grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL", field)


def shared_memory(where: str) -> tuple[pb.ModelInferRequest, Failure]:
    """A request with a tensor in shared memory, and its failure."""
    name = "shared_memory_region"
    return (
        parameter(where, name, string_param="region"),
        invalid("BAD_OPTION", f"{where}[0].parameters[{name}]"),
    )


def classification(output: str, value: pb.InferParameter) -> pb.ModelInferRequest:
    """A request for classes."""
    message = request(SECRET)
    message.outputs.add(name=output).parameters["classification"].CopyFrom(value)
    return message


WRONG: dict[str, tuple[pb.ModelInferRequest, Failure]] = {
    "no model": (request(SECRET, model=""), unknown_model("model_name")),
    "another model": (request(SECRET, model=SECRET), unknown_model("model_name")),
    "another version": (request(SECRET, model_version="2"), unknown_model("model_version")),
    "no inputs": (pb.ModelInferRequest(model_name="tiny"), invalid("EMPTY_TEXT", "inputs")),
    "another input": (
        changed(lambda m: setattr(m.inputs[0], "name", SECRET)),
        invalid("BAD_OPTION", "inputs[0].name"),
    ),
    "the same input twice": (
        changed(lambda m: m.inputs.append(m.inputs[0])),
        invalid("BAD_ENCODING", "raw_input_contents"),
    ),
    "the same input twice, complete": (
        changed(lambda m: m.inputs.append(m.inputs[0]), raw=False),
        invalid("BAD_OPTION", "inputs[1].name"),
    ),
    "another type": (
        changed(lambda m: setattr(m.inputs[0], "datatype", "FP32")),
        invalid("BAD_OPTION", "inputs[0].datatype"),
    ),
    **{
        f"shape {shape}": (
            request(SECRET, "good", shape=shape),
            invalid("BAD_OPTION", "inputs[0].shape"),
        )
        for shape in ([], [-1], [2, 2], [2, 1, 1], [1, 2])
    },
    "more texts than raw": (
        request(SECRET, "good", shape=[3]),
        invalid("BAD_ENCODING", "raw_input_contents[0]"),
    ),
    "fewer texts than raw": (
        request(SECRET, "good", shape=[1]),
        invalid("BAD_ENCODING", "raw_input_contents[0]"),
    ),
    "more texts than contents": (
        request(SECRET, "good", shape=[3], raw=False),
        invalid("BAD_ENCODING", "inputs[0].contents"),
    ),
    "raw that is cut off": (
        changed(lambda m: m.raw_input_contents.__setitem__(0, m.raw_input_contents[0][:-1])),
        invalid("BAD_ENCODING", "raw_input_contents[0]"),
    ),
    "raw with half a length": (
        changed(lambda m: m.raw_input_contents.__setitem__(0, b"\1\0\0")),
        invalid("BAD_ENCODING", "raw_input_contents[0]"),
    ),
    "raw that claims 4 GiB": (
        changed(lambda m: m.raw_input_contents.__setitem__(0, b"\xff" * 8)),
        invalid("BAD_ENCODING", "raw_input_contents[0]"),
    ),
    "contents and raw": (
        changed(lambda m: m.inputs[0].contents.bytes_contents.append(b"x")),
        invalid("BAD_ENCODING", "inputs[0].contents"),
    ),
    "contents of another type": (
        changed(lambda m: m.inputs[0].contents.int_contents.extend([1, 2]), raw=False),
        invalid("BAD_ENCODING", "inputs[0].contents"),
    ),
    "neither contents nor raw": (
        changed(lambda m: m.ClearField("raw_input_contents")),
        invalid("BAD_ENCODING", "inputs[0].contents"),
    ),
    "more raw than inputs": (
        changed(lambda m: m.raw_input_contents.append(b"")),
        invalid("BAD_ENCODING", "raw_input_contents"),
    ),
    "fewer pairs than texts": (changed(add_one_pair), invalid("BAD_OPTION", "inputs")),
    "not UTF-8": (request("good", b"\xe9" + SECRET.encode()), invalid("BAD_ENCODING", "text[1]")),
    "a pair that is not UTF-8": (
        request("good", "good", pairs=["x", b"\xed\xa0\x80"]),
        invalid("BAD_ENCODING", "text_pair[1]"),
    ),
    "blank": (request("good", " \n"), invalid("EMPTY_TEXT", "text[1]")),
    "a pair that is empty": (
        request("good", "good", pairs=["", "x"]),
        invalid("EMPTY_TEXT", "text_pair[0]"),
    ),
    "too many tokens": (
        request("good", f"{SECRET} " * 600),
        invalid("TOO_MANY_TOKENS", "text[1]", tokens="602", max_tokens="512"),
    ),
    "too large": (
        request("good", "x" * 65_537),
        invalid("TEXT_TOO_LARGE", "text[1]", bytes="65537", max_text_bytes="65536"),
    ),
    "too many texts": (
        request(*[SECRET] * 17),
        invalid("TOO_MANY_ITEMS", "inputs[0].shape", items="17", max_items="16"),
    ),
    "texts beyond all bounds": (
        request(SECRET, shape=[1 << 62]),
        invalid("TOO_MANY_ITEMS", "inputs[0].shape", items=str(1 << 62), max_items="16"),
    ),
    "an id that is too long": (request(SECRET, id="i" * 1_025), invalid("BAD_ID", "id")),
    "another output": (
        changed(lambda m: m.outputs.add(name=SECRET)),
        invalid("BAD_OPTION", "outputs[0].name"),
    ),
    **{
        f"{value} of {output}": (
            classification(output, pb.InferParameter(**value)),
            invalid("BAD_OPTION", "outputs[0].parameters[classification]"),
        )
        for output, value in (
            ("scores", {"int64_param": 0}),
            ("scores", {"int64_param": -1}),
            ("scores", {"string_param": "2"}),
            ("scores", {}),
            ("label", {"int64_param": 2}),
            ("label_id", {"int64_param": 2}),
        )
    },
    **{
        f"{name} {value}": (
            parameter("", name, **value),
            invalid("BAD_OPTION", f"parameters[{name}]"),
        )
        for name, value in (
            ("priority", {"int64_param": -1}),
            ("priority", {"string_param": "high"}),
            ("timeout", {"int64_param": -1}),
            ("timeout", {"uint64_param": 5}),
            ("timeout", {}),
        )
    },
    "an input in shared memory": shared_memory("inputs"),
    "an output in shared memory": shared_memory("outputs"),
}


@pytest.mark.parametrize(("message", "expected"), WRONG.values(), ids=WRONG)
def test_calls(stub: Stub, message: pb.ModelInferRequest, expected: Failure) -> None:
    """One bad text fails the call; details and message of the status name the text."""
    failure = refusal(lambda: stub.ModelInfer(message))

    assert failure == expected
    if expected.code is grpc.StatusCode.INVALID_ARGUMENT:
        assert failure.message.startswith(expected.field)


def test_streams(channel: grpc.Channel) -> None:
    """The response to each bad request names reason and field, in order among the good ones; the
    stream continues to its end.
    """
    with Talk(channel) as stream:
        for number, (message, _) in enumerate(WRONG.values()):
            message = pb.ModelInferRequest.FromString(message.SerializeToString())
            message.id = message.id or str(number)
            stream.send(request("good", id=f"before {number}"), message)
        stream.half_close()
        for number, (message, expected) in enumerate(WRONG.values()):
            good, bad = stream.read(), stream.read()
            assert (good.error_message, good.infer_response.id) == ("", f"before {number}")
            assert bad.error_message.startswith(f"{expected.reason}: ")
            if expected.code is grpc.StatusCode.INVALID_ARGUMENT:
                assert bad.error_message.startswith(f"{expected.reason}: {expected.field}")
            assert "xylomancy" not in bad.error_message
            assert bad.infer_response.id == ("" if message.id else str(number))
            assert not bad.infer_response.outputs
        assert not list(stream.read_all())
        assert stream.call.code() is grpc.StatusCode.OK


NO_MESSAGE = b"\xff\xff\xff\xff"
LATIN_1 = b"\x0a\x01\xe9"  # where field 1 is a string


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        (method.name, raw)
        for method in SERVICE.methods
        for raw in (NO_MESSAGE, LATIN_1)
        if not method.client_streaming and (raw == NO_MESSAGE or method.input_type.fields)
    ],
)
def test_malformed_messages(channel: grpc.Channel, stub: Stub, method: str, raw: bytes) -> None:
    """Each RPC rejects bytes that do not parse with BAD_ENCODING; the next call is answered."""
    call: Any = channel.unary_unary(f"/{SERVICE.full_name}/{method}")

    assert refusal(lambda: call(raw, timeout=PATIENCE_S)) == invalid("BAD_ENCODING")
    assert stub.ModelInfer(request("good")).outputs


@pytest.mark.parametrize("raw", [NO_MESSAGE, LATIN_1])
def test_malformed_messages_of_a_stream(channel: grpc.Channel, raw: bytes) -> None:
    """Earlier requests are answered; then the stream ends with BAD_ENCODING."""
    with Talk(channel) as stream:
        stream.send(request("good"), raw)

        assert stream.read().infer_response.outputs
        assert refusal(stream.read) == invalid("BAD_ENCODING")


def test_poison_texts(fake: Callable[..., Server], connect: Connect) -> None:
    """The error names the text that ended the model's process twice."""
    stub = Stub(connect(fake(FakeEngine()).target))

    failure = refusal(lambda: stub.ModelInfer(request("good", f"deadly {SECRET}")))

    assert failure == Failure(grpc.StatusCode.INTERNAL, "POISON_INPUT", "text[1]")
    assert failure.message.startswith("text[1]: ")


def test_full_queue(fake: Callable[..., Server], connect: Connect) -> None:
    """A call gets OVERLOADED with a delay when the queue is full; queued calls are answered."""
    engine = FakeEngine()
    server = fake(engine, max_queue_tokens=4)
    stub = Stub(connect(server.target))
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(stub.ModelInfer, request(f"slow {SECRET}"))
        engine.wait_for(lambda engine: bool(engine.texts))
        queued = pool.submit(stub.ModelInfer, request(SECRET))
        assert eventually(lambda: waiting(server) == 1)

        failure = refusal(lambda: stub.ModelInfer(request(f"{SECRET} 1", f"{SECRET} 2")))

        assert (failure.code, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert failure.can_retry_later
        engine.release()
        assert held.result().outputs
        assert queued.result().outputs


def test_deadline_of_the_call(fake: Callable[..., Server], connect: Connect) -> None:
    """The gRPC deadline ends a call as for Classwire's own RPCs; its text never runs."""
    engine = FakeEngine()
    server = fake(engine)
    stub = Stub(connect(server.target))
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(stub.ModelInfer, request(f"slow {SECRET}"))
        engine.wait_for(lambda engine: bool(engine.texts))

        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request("late"), timeout=0.05)

        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert eventually(lambda: waiting(server) == 0)
        engine.release()
        assert held.result().outputs
    assert len(engine.texts) == 1
