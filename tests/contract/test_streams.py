"""StreamClassify: order, window and end of a stream without errors."""

from collections.abc import Callable, Iterator

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.server import Server
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.failures import SECRET
from tests.contract.test_busy import hold, waiting

Connect = Callable[[str], grpc.Channel]
Converse = Callable[..., Conversation]


def test_starts_with_its_limits(converse: Converse, models: ModelServiceStub) -> None:
    """The server sends model and limits before the caller sends an item."""
    started = converse().read_started()

    model = models.GetModel(pb.GetModelRequest(), timeout=PATIENCE_S).model
    assert started.window_items == model.limits.stream_window_items == 16
    assert started.max_items_per_message == model.limits.stream_items_per_message == 4
    assert started.model.name == model.name
    assert started.model.fingerprint == model.fingerprint


@pytest.mark.parametrize("ordering", [pb.ORDERING_AS_COMPLETED, pb.ORDERING_IN_ORDER])
def test_a_thousand_items(
    classify: Classify, converse: Converse, ordering: pb.Ordering.ValueType
) -> None:
    """Many more items than the window get one answer each, with the scores of their text."""
    texts = {str(index): f"book number {index % 10}" for index in range(1_000)}
    alone = {text: classify(text).result.scores for text in set(texts.values())}
    stream = converse(ordering=ordering)
    items = [item(item_id, text) for item_id, text in texts.items()]
    for start in range(0, len(items), 3):
        stream.send_items(*items[start : start + 3])
    stream.half_close()

    results = stream.read_to_end()

    ids = [result.id for result in results]
    assert sorted(ids) == sorted(texts)
    if ordering == pb.ORDERING_IN_ORDER:
        assert ids == list(texts)
    for result in results:
        expected = {score.label: score.score for score in alone[texts[result.id]]}
        actual = {s.label: s.score for s in result.outcome.classification.scores}
        assert actual == pytest.approx(expected, abs=1e-5)


def test_results_equal_those_of_calls(classify: Classify, converse: Converse) -> None:
    """The config's options apply to every item; every message has model and timing."""
    options = pb.ClassifyOptions(
        top_k=2,
        activation=pb.ACTIVATION_SIGMOID,
        include_logits=True,
        include_tokens=True,
        offset_unit=pb.OFFSET_UNIT_UTF16,
    )
    stream = converse(options=options)
    stream.send_items(pb.StreamItem(id="a", input=pb.TextInput(text="😀 I love", text_pair="it")))
    started = stream.read_started()

    results = stream.read().results

    unary = classify(
        "😀 I love",
        "it",
        top_k=2,
        activation=pb.ACTIVATION_SIGMOID,
        include_logits=True,
        include_tokens=True,
        offset_unit=pb.OFFSET_UNIT_UTF16,
    )
    [result] = results.results
    assert result.outcome.classification == unary.result
    assert results.model == unary.model == started.model
    timing = results.timing
    assert timing.total_us >= timing.queue_us + timing.inference_us
    assert timing.inference_us > 0
    assert (timing.batch_texts, timing.batch_tokens) == (1, unary.result.token_count)


def test_as_completed(fake: Callable[..., Server], connect: Connect) -> None:
    """A result does not wait for the results of earlier items."""
    engine = FakeEngine()
    with Conversation(connect(fake(engine).target)) as stream:
        stream.read_started()
        stream.send_items(item("held", "slow"), item("bad", " "))

        assert [result.id for result in stream.read_results(1)] == ["bad"]

        engine.release()
        assert [result.id for result in stream.read_results(1)] == ["held"]


def test_in_order(fake: Callable[..., Server], connect: Connect) -> None:
    """A result waits for the results and errors of all earlier items."""
    engine = FakeEngine()
    channel = connect(fake(engine).target)
    with Conversation(channel, ordering=pb.ORDERING_IN_ORDER) as stream:
        stream.read_started()
        stream.send_items(item("bad first", " "), item("held", "slow"), item("bad", " "))
        assert [result.id for result in stream.read_results(1)] == ["bad first"]
        engine.wait_for(lambda engine: bool(engine.batches))
        stream.half_close()
        assert eventually(lambda: not readers())
        engine.release()

        assert [result.id for result in stream.read_to_end()] == ["held", "bad"]


def test_half_close_answers_everything(fake: Callable[..., Server], connect: Connect) -> None:
    """Items queued at the half-close are answered; then the stream ends with OK."""
    engine = FakeEngine()
    server = fake(engine)
    with Conversation(connect(server.target)) as stream:
        stream.send_items(item("held", "slow"))
        engine.wait_for(lambda engine: bool(engine.batches))
        stream.send_items(*(item(str(index), f"{index} {SECRET}") for index in range(20)))
        stream.half_close()
        assert eventually(lambda: waiting(server) == 20)
        engine.release()

        ids = [result.id for result in stream.read_to_end()]

    assert ids == ["held", *map(str, range(20))]


def test_streams_of_no_items(converse: Converse) -> None:
    """A stream without items ends with OK."""
    stream = converse()
    stream.half_close()

    assert stream.read_started()
    assert stream.read_to_end() == []


def test_bulk_yields_to_interactive(fake: Callable[..., Server], connect: Connect) -> None:
    """Items of streams are bulk and calls interactive by default; options change that."""
    engine = FakeEngine()
    server = fake(engine, batch_tokens=1)
    channel = connect(server.target)
    stub = ClassifyServiceStub(channel)
    calls = [hold(stub, engine)]

    def call(text: str, priority: pb.Priority.ValueType) -> None:
        options = pb.ClassifyOptions(priority=priority)
        request = pb.ClassifyRequest(input=pb.TextInput(text=text), options=options)
        waited = waiting(server)
        calls.append(stub.Classify.future(request, timeout=PATIENCE_S))
        assert eventually(lambda: waiting(server) == waited + 1)

    def stream(text: str, priority: pb.Priority.ValueType) -> Conversation:
        conversation = Conversation(channel, options=pb.ClassifyOptions(priority=priority))
        waited = waiting(server)
        conversation.send_items(item("a", text))
        assert eventually(lambda: waiting(server) == waited + 1)
        return conversation

    with stream("stream", pb.PRIORITY_UNSPECIFIED) as bulk:
        call("bulk call", pb.PRIORITY_BULK)
        with stream("interactive stream", pb.PRIORITY_INTERACTIVE) as interactive:
            call("call", pb.PRIORITY_UNSPECIFIED)
            engine.release()
            bulk.read_started()
            bulk.read_results(1)
            interactive.read_started()
            interactive.read_results(1)
    for held in calls:
        assert held.result().result.scores

    assert engine.texts[1:] == ["interactive stream", "call", "stream", "bulk call"]


def test_a_caller_that_stops_reading(
    checkpoint: Callable[..., object], fake: Callable[..., Server], connect: Connect
) -> None:
    """The server reads its items up to the window, one message and HTTP/2's buffer."""
    labels = tuple(f"{index:05}".ljust(1_000, "x") for index in range(200))
    engine = FakeEngine(logits=[0.0] * len(labels))
    model = f"wide={checkpoint('bert', labels=labels)}"
    server = fake(engine, model=(model,), stream_window_items=8, stream_items_per_message=2)
    other = ClassifyServiceStub(connect(server.target))
    # Else gRPC would widen its window to megabytes.
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
    with (
        grpc.insecure_channel(server.target, options=narrow) as channel,
        Conversation(channel) as stream,
    ):
        assert stream.read_started().window_items == 8
        for index in range(0, 100, 2):
            stream.send_items(*(item(str(n), f"{n} {SECRET}") for n in (index, index + 1)))
        stream.half_close()
        engine.wait_for(lambda engine: len(engine.texts) >= 8)
        for _ in range(20):  # give the server time to read more
            other.Classify(pb.ClassifyRequest(input=pb.TextInput(text="ok")), timeout=PATIENCE_S)

        # The window, a message on top, and as many as went into the first message of 400 kB.
        assert sum(SECRET in text for text in engine.texts) <= 8 + 2 + 2

        assert len(stream.read_to_end()) == 100


def test_streams_leave_nothing_behind(converse: Converse) -> None:
    """The reader thread of a stream ends with the stream, after any kind of end."""
    before = set(readers())
    for ids in ("ab", "aa", ""):
        stream = converse()
        stream.send_items(*(item(item_id, "ok") for item_id in ids))
        stream.half_close()
        for _ in drained(stream):
            pass

    assert eventually(lambda: not set(readers()) - before)


def drained(stream: Conversation) -> Iterator[object]:
    """All results, and the error of a stream that ends with one."""
    try:
        yield from stream.read_to_end()
    except grpc.RpcError as error:
        yield error
