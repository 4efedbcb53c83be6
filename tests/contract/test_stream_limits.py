"""Idle, unread and old streams end and hold no resources."""

import math
import threading
import time
from collections.abc import Callable

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.rpc.server_options import LOOKAHEAD_BYTES, grpc_options
from classwire_server.rpc.timers import Timers
from classwire_server.server import Server
from tests.contract.conversation import STREAM_CLASSIFY, Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import SECRET, Failure, refusal
from tests.contract.test_busy import waiting
from tests.http2 import DATA, HEADERS, Connection, messages, request

Connect = Callable[[str], grpc.Channel]

BRIEFLY_S = 0.05


def draining(**metadata: str) -> Failure:
    """The failure of a stream that its caller should open again."""
    return Failure(grpc.StatusCode.UNAVAILABLE, "DRAINING", metadata=metadata)


def test_idle_streams_end(fake: Callable[..., Server], connect: Connect) -> None:
    """A stream without messages ends with DRAINING and makes room for another, also a stream that
    never sent a config.
    """
    server = fake(FakeEngine(), stream_idle_timeout_s=BRIEFLY_S, max_streams=1)
    channel = connect(server.target)
    for start in (True, False, True):
        with Conversation(channel, start=start) as stream:
            if start:
                stream.read_started()
                stream.send_items(item("a", SECRET))
                assert [result.id for result in stream.read_results(1)] == ["a"]
            assert refusal(stream.read) == draining(idle_timeout_s="0.05")
        assert server.gate.wait_until_empty(PATIENCE_S)


def test_streams_that_wait_for_the_engine_are_not_idle(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """A stream with an unanswered item is not idle; the idle time begins with the result."""
    engine = FakeEngine()
    server = fake(engine, stream_idle_timeout_s=0.2)
    with Conversation(connect(server.target), start=False) as stream:
        stream.send(pb.StreamClassifyRequest(config=pb.StreamConfig()))
        stream.send_items(item("held", f"slow {SECRET}"))
        engine.wait_for(lambda engine: bool(engine.batches))
        with Conversation(connect(server.target)) as idle:
            idle.read_started()
            assert refusal(idle.read).reason == "DRAINING"  # the other stream has waited longer
        engine.release()
        stream.read_started()

        assert [result.id for result in stream.read_results(1)] == ["held"]
        assert refusal(stream.read) == draining(idle_timeout_s="0.2")


def test_unread_streams_are_cancelled(fake: Callable[..., Server], connect: Connect) -> None:
    """The stream of a caller that stops reading is cancelled and makes room for another."""
    engine = FakeEngine()
    server = fake(engine, stream_idle_timeout_s=0.2, max_streams=1)
    with Connection(server.port, PATIENCE_S, window_bytes=300) as connection:
        connection.send(request(STREAM_CLASSIFY))
        config = pb.StreamClassifyRequest(config=pb.StreamConfig())
        items = pb.StreamItems(items=[item(str(n), f"slow {n}") for n in range(64)])
        both = config, pb.StreamClassifyRequest(items=items)
        connection.send_data(messages(*(message.SerializeToString() for message in both)))
        engine.wait_for(lambda engine: bool(engine.batches))
        engine.release()
        connection.read_until(HEADERS)
        while connection.data_bytes() < 300:
            connection.read_until(DATA)

        connection.read_until(HEADERS)

        assert connection.trailer("grpc-status") == str(grpc.StatusCode.CANCELLED.value[0])
    assert eventually(lambda: not readers())
    assert server.gate.wait_until_empty(PATIENCE_S)
    with Conversation(connect(server.target)) as stream:
        assert stream.read_started()


def test_bytes_of_a_caller_that_does_not_read(
    fake: Callable[..., Server], connect: Connect
) -> None:
    """The server reads a window of texts and one more message, of any size; gRPC buffers at most
    its lookahead.
    """
    engine = FakeEngine()
    server = fake(engine, stream_window_items=8, stream_items_per_message=2, batch_tokens=1)
    stub = ClassifyServiceStub(connect(server.target))
    largest_message_bytes = 2 * (server.config.max_text_bytes + 100)
    largest_bytes = 8 // 2 * largest_message_bytes + largest_message_bytes + LOOKAHEAD_BYTES
    options = pb.ClassifyOptions(truncation=pb.TRUNCATION_DROP_END)
    config = pb.StreamClassifyRequest(config=pb.StreamConfig(options=options))
    stream = [config.SerializeToString()]
    for number in range(0, 80, 2):
        texts = ["book " * (number + place) + "love " * 12_000 for place in range(2)]
        pair = pb.StreamItems(
            items=[item(str(number + place), text) for place, text in enumerate(texts)]
        )
        stream.append(pb.StreamClassifyRequest(items=pair).SerializeToString())
    data = messages(*stream)
    assert len(data) > 4 * largest_bytes
    with Connection(server.port, PATIENCE_S, window_bytes=0) as connection:
        connection.send(request(STREAM_CLASSIFY))

        def offer() -> int:
            place = connection.sent_bytes
            connection.send_data(data[place : place + connection.may_send_bytes])
            connection.synchronize()
            return len(engine.texts)

        assert eventually(lambda: offer() == 8)
        for _ in range(20):  # give the server time to read more
            stub.Classify(pb.ClassifyRequest(input=pb.TextInput(text="ok")), timeout=PATIENCE_S)
            offer()

        assert connection.sent_bytes <= largest_bytes


def test_old_streams_drain(fake: Callable[..., Server], connect: Connect) -> None:
    """The server stops reading a stream at its maximum age, answers what it read, and ends the
    stream with DRAINING.
    """
    engine = FakeEngine()
    server = fake(engine, max_connection_age_s=0.5)
    with Conversation(connect(server.target)) as stream:
        stream.read_started()
        stream.send_items(item("read", f"slow {SECRET}"))
        engine.wait_for(lambda engine: bool(engine.batches))
        for _ in range(2):  # the second outlasts the maximum age of the first stream
            with Conversation(connect(server.target)) as younger:
                younger.read_started()
                assert refusal(younger.read) == draining(max_age_s="0.5")
        stream.send_items(item("too late", SECRET))
        engine.release()

        assert [result.id for result in stream.read_results(1)] == ["read"]
        assert refusal(stream.read) == draining(max_age_s="0.5")


def test_old_streams_do_not_wait_for_ever(fake: Callable[..., Server], connect: Connect) -> None:
    """An old stream ends at the drain timeout; its unanswered items leave the queue."""
    engine = FakeEngine()
    server = fake(engine, max_connection_age_s=0.5, drain_timeout_s=0)
    with Conversation(connect(server.target)) as stream:
        stream.read_started()
        stream.send_items(item("held", f"slow {SECRET}"))
        engine.wait_for(lambda engine: bool(engine.batches))
        stream.send_items(*(item(str(n), "love " * n) for n in range(1, 9)))
        assert eventually(lambda: waiting(server) > 0)

        assert refusal(stream.read) == draining(max_age_s="0.5")

        assert eventually(lambda: waiting(server) == 0)
        assert server.gate.wait_until_empty(PATIENCE_S)


def test_old_connections(fake: Callable[..., Server], connect: Connect) -> None:
    """Old connections end; calls continue on new ones without an error."""
    channel = connect(fake(FakeEngine(), max_connection_age_s=0.2).target)
    ended = threading.Event()
    states: list[grpc.ChannelConnectivity] = []

    def note(state: grpc.ChannelConnectivity) -> None:
        states.append(state)
        if state is grpc.ChannelConnectivity.IDLE and grpc.ChannelConnectivity.READY in states:
            ended.set()

    channel.subscribe(note, try_to_connect=True)
    classify = ClassifyServiceStub(channel).Classify
    call = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))

    while not ended.is_set():
        assert classify(call, timeout=PATIENCE_S).result.scores

    assert classify(call, timeout=PATIENCE_S).result.scores


@pytest.mark.parametrize("age_s", [0, 60])
def test_connections_outlast_their_streams(age_s: float) -> None:
    """An old connection ends only after every stream on it has ended."""
    config = ServerConfig(max_connection_age_s=age_s, drain_timeout_s=7)

    options = dict(grpc_options(config))

    if age_s:
        assert options["grpc.max_connection_age_ms"] == 60_000
        assert options["grpc.max_connection_age_grace_ms"] > (60 + 7) * 1_000
    else:
        assert "grpc.max_connection_age_ms" not in options


def test_timers_call_until_removed() -> None:
    """One thread makes all callbacks, repeats those that ask for it, and ends without any."""
    others = ringing()
    timers = Timers()
    rung: list[str] = []
    held, done = threading.Event(), threading.Event()

    def hold(now_s: float) -> float:
        rung.append("hold")
        held.wait(PATIENCE_S)
        return now_s if len(rung) == 1 else math.inf

    def finish(now_s: float) -> float:
        rung.append("finish")
        done.set()
        return math.inf

    def fail(now_s: float) -> float:
        rung.append("fail")
        return math.inf

    timers.set(0.0, hold)
    assert eventually(lambda: rung == ["hold"])
    remove = timers.set(0.0, fail)
    remove()
    timers.set(math.inf, fail)
    timers.set(time.monotonic() + BRIEFLY_S, finish)
    held.set()
    assert done.wait(PATIENCE_S)
    assert rung == ["hold", "hold", "finish"]

    assert eventually(lambda: ringing() <= others)
    done.clear()
    timers.set(0.0, finish)
    assert done.wait(PATIENCE_S)


def test_a_failing_timer_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failing callback is called again; the log names only the type of its error."""
    monkeypatch.setattr("classwire_server.rpc.timers.AGAIN_S", BRIEFLY_S)
    timers = Timers()
    failures: list[float] = []
    again, other = threading.Event(), threading.Event()

    def fail(now_s: float) -> float:
        failures.append(now_s)
        if len(failures) == 1:
            raise ValueError(SECRET)
        again.set()
        return math.inf

    def ring(now_s: float) -> float:
        other.set()
        return math.inf

    timers.set(0.0, fail)
    timers.set(time.monotonic() + BRIEFLY_S / 2, ring)
    assert other.wait(PATIENCE_S)
    assert again.wait(PATIENCE_S)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == [
        "a timer failed and is tried again: ValueError"
    ]


def ringing() -> set[threading.Thread]:
    """The threads of timers."""
    return {thread for thread in threading.enumerate() if thread.name == "timers"}
