"""ModelStreamInfer: a response for each request, in order, within the limits of streams."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest

from classwire_server.open_inference import inference_pb2 as pb
from classwire_server.rpc.server_options import LOOKAHEAD_BYTES
from classwire_server.server import Server
from tests.contract.conversation import Conversation
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import SECRET, Failure, refusal
from tests.contract.test_busy import DRAINING, waiting
from tests.http2 import DATA, HEADERS, Connection, messages
from tests.http2 import request as headers
from tests.open_inference.wire import SERVICE, Stub, Talk, request

Connect = Callable[[str], grpc.Channel]

PATH = f"/{SERVICE.full_name}/ModelStreamInfer"


def test_answers_are_those_of_calls(channel: grpc.Channel, stub: Stub) -> None:
    """Responses come in order for any models; each is the final one of its request."""
    asked = [
        request("I love it", "bad", id="a"),
        request("good", model="multi", id="b"),
        request(shape=[0], id="c"),
        request("The book", model="value", pairs=["ok"], id="d"),
    ]
    with Talk(channel) as stream:
        stream.send(*asked)
        stream.half_close()

        answers = list(stream.read_all())

    assert stream.call.code() is grpc.StatusCode.OK
    for message, answer in zip(asked, answers, strict=True):
        expected = stub.ModelInfer(message)
        assert answer.infer_response.parameters.pop("triton_final_response").bool_param
        assert (answer.error_message, answer.infer_response) == ("", expected)


def test_order_and_priority(fake: Callable[..., Server], connect: Connect) -> None:
    """Requests are bulk work by default; a response waits for the responses before it."""
    engine = FakeEngine()
    server = fake(engine)
    with Talk(connect(server.target)) as stream:
        stream.send(request(f"slow {SECRET}", id="first"))
        engine.wait_for(lambda engine: len(engine.texts) == 1)
        urgent = {"priority": pb.InferParameter(int64_param=1)}
        stream.send(request("urgent", id="second", parameters=urgent))
        engine.wait_for(lambda engine: "urgent" in engine.texts)
        stream.send(request(f"{SECRET} waits", id="third"), request(" ", id="fourth"))
        assert eventually(lambda: waiting(server) == 1)
        engine.release()

        ids = [stream.read().infer_response.id for _ in range(4)]

    assert ids == ["first", "second", "third", "fourth"]
    assert engine.urgent == [False, True, False]


def test_request_timeouts(fake: Callable[..., Server], connect: Connect) -> None:
    """A request whose timeout passes fails alone; the stream continues."""
    engine = FakeEngine()
    with Talk(connect(fake(engine).target)) as stream:
        stream.send(request("slow", id="held"))
        engine.wait_for(lambda engine: bool(engine.texts))
        timeout = {"timeout": pb.InferParameter(int64_param=1)}
        stream.send(request("late", id="late", parameters=timeout), request("good", id="good"))
        engine.release()

        held, late, good = (stream.read() for _ in range(3))

    assert held.infer_response.outputs
    assert late.error_message.startswith("EXPIRED_IN_QUEUE: ")
    assert good.infer_response.outputs


def test_defects(fake: Callable[..., Server], connect: Connect) -> None:
    """A failure of the engine is the error of one request, and does not quote its text."""
    with Talk(connect(fake(FakeEngine()).target)) as stream:
        stream.send(*(request(f"{word} {SECRET}", "good") for word in ("nan", "boom", "deadly")))
        stream.send(request("good"))

        failed = [stream.read().error_message for _ in range(3)]

        assert [said.partition(":")[0] for said in failed] == [
            "INTERNAL",
            "INTERNAL",
            "POISON_INPUT",
        ]
        assert "text[0]" in failed[2]
        assert "xylomancy" not in "".join(failed)
        assert stream.read().infer_response.outputs


def test_streams_of_both_protocols_share_their_places(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """max_streams counts the streams of both; a stream that ends makes room for another."""
    server = fake(FakeEngine(), max_streams=2)
    channel = connect(server.target)
    with Conversation(channel) as other:
        other.read_started()
        with Talk(channel) as stream:
            stream.send(request("good"))
            assert stream.read().infer_response.outputs  # it is open before the next one
            with Talk(channel) as one_too_many:
                failure = refusal(one_too_many.read)
        assert failure == Failure(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_STREAMS",
            metadata={"max_streams": "2"},
            can_retry_later=True,
        )
        assert eventually(lambda: len(readers()) == 1)
        with Talk(channel) as stream:
            stream.send(request("good"))
            assert stream.read().infer_response.outputs
    assert server.gate.wait_until_empty(PATIENCE_S)


def test_a_stream_uses_its_model_once(fake: Callable[..., Server], connect: Connect) -> None:
    """A stream holds its model once, for any number of good and bad requests."""
    server = fake(FakeEngine())
    [entry] = server.registry.entries()
    assert entry.served is not None
    with Talk(connect(server.target)) as stream:
        for version in ("1", "2", "3"):
            for _ in range(5):
                stream.send(request("good", model_version=version))
                assert bool(stream.read().error_message) == (version != "1")
        assert entry.served.gate.in_flight == 1
    assert entry.served.gate.wait_until_empty(PATIENCE_S)


def test_drain(fake: Callable[..., Server], connect: Connect) -> None:
    """A drain answers what was read, errors too, then ends the stream with DRAINING."""
    engine = FakeEngine()
    server = fake(engine)
    with ExitStack() as left, ThreadPoolExecutor(1) as pool:
        stream = left.enter_context(Talk(connect(server.target)))
        stream.send(request(f"slow {SECRET}"), request(SECRET), request(" "))
        engine.wait_for(lambda engine: bool(engine.texts))
        assert eventually(lambda: server.streams.items()[0] == 3)  # all are read
        closed = threading.Event()
        server.gate.listen(closed.set)

        stopping = pool.submit(server.stop)

        assert closed.wait(PATIENCE_S)
        stream.send(request("too late"))
        engine.release()
        assert stream.read().infer_response.outputs
        assert stream.read().infer_response.outputs
        assert stream.read().error_message.startswith("EMPTY_TEXT")
        assert refusal(stream.read) == DRAINING
        stopping.result(PATIENCE_S)
    assert not readers()


def test_callers_that_leave(fake: Callable[..., Server], connect: Connect) -> None:
    """Cancelling empties the queue and ends the stream's thread and call."""
    engine = FakeEngine()
    server = fake(engine)
    with Talk(connect(server.target)) as stream:
        stream.send(request("slow"))
        engine.wait_for(lambda engine: bool(engine.batches))  # no other text goes with it
        stream.send(*(request("love " * n, "book " * n) for n in range(1, 4)))
        assert eventually(lambda: waiting(server) == 6)
    assert eventually(lambda: waiting(server) == 0)
    engine.release()
    assert eventually(lambda: not readers())
    assert server.gate.wait_until_empty(PATIENCE_S)


def test_idle_streams_end(fake: Callable[..., Server], connect: Connect) -> None:
    """A stream without requests ends with DRAINING at the idle timeout."""
    server = fake(FakeEngine(), stream_idle_timeout_s=0.05)
    with Talk(connect(server.target)) as stream:
        stream.send(request("good"))
        assert stream.read().infer_response.outputs

        failure = refusal(stream.read)

    assert failure == Failure(
        grpc.StatusCode.UNAVAILABLE, "DRAINING", metadata={"idle_timeout_s": "0.05"}
    )


@pytest.mark.parametrize("first", ["good", " "], ids=["texts", "errors"])
def test_senders_that_flood(fake: Callable[..., Server], connect: Connect, first: str) -> None:
    """From a caller that does not read, the server reads a window of texts and one more request,
    of any size. gRPC buffers at most twice its lookahead. A bad request counts as one text.
    """
    server = fake(FakeEngine(), stream_window_items=8, stream_items_per_message=8)
    stub = Stub(connect(server.target))
    blank = " " * 60_000  # many bytes, and no work
    asked = [request(f"{first}{blank}") for _ in range(60)]
    data = messages(*(message.SerializeToString() for message in asked))
    message_bytes = len(data) // len(asked)
    most_bytes = 9 * message_bytes + 2 * LOOKAHEAD_BYTES
    assert len(data) > 3 * most_bytes
    with Connection(server.port, PATIENCE_S, window_bytes=0) as connection:
        connection.send(headers(PATH))

        def offer() -> int:
            place = connection.sent_bytes
            connection.send_data(data[place : place + connection.may_send_bytes])
            connection.synchronize()
            return connection.sent_bytes

        assert eventually(lambda: offer() >= 8 * message_bytes)
        for _ in range(20):  # give the server time to read more
            assert stub.ModelInfer(request("ok")).outputs
            offer()

        assert connection.sent_bytes <= most_bytes


def test_readers_that_stop(fake: Callable[..., Server]) -> None:
    """The stream of a caller that stops reading is cancelled; its thread and place are free."""
    engine = FakeEngine()
    server = fake(engine, stream_idle_timeout_s=0.2, max_streams=1)
    with Connection(server.port, PATIENCE_S, window_bytes=300) as connection:
        connection.send(headers(PATH))
        asked = [request(f"slow {n}") for n in range(64)]
        connection.send_data(messages(*(message.SerializeToString() for message in asked)))
        engine.wait_for(lambda engine: bool(engine.texts))
        engine.release()
        connection.read_until(HEADERS)
        while connection.data_bytes() < 300:
            connection.read_until(DATA)

        connection.read_until(HEADERS)

        assert connection.trailer("grpc-status") == str(grpc.StatusCode.CANCELLED.value[0])
    assert eventually(lambda: not readers())
    assert server.gate.wait_until_empty(PATIENCE_S)


@pytest.mark.parametrize("texts", [0, 1])
def test_huge_ids_are_not_kept(fake: Callable[..., Server], connect: Connect, texts: int) -> None:
    """A response to a request with a huge id or name does not return it."""
    long = "x" * 100_000
    wrong = request(*["good"] * texts, model=long, id=long, model_version=long)
    with Talk(connect(fake(FakeEngine()).target)) as stream:
        stream.send(wrong)

        answer = stream.read()

    assert answer.error_message.startswith("UNKNOWN_MODEL")
    assert answer.ByteSize() < 1_000
