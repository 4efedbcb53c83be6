"""ModelStatistics: what a model has done, for calls of both protocols."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from classwire.v1 import classwire_pb2
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.open_inference import inference_pb2 as pb
from classwire_server.scheduling.model_statistics import Outcome, Statistics
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.contract.failures import SECRET
from tests.contract.test_busy import waiting
from tests.open_inference.wire import Stub, Talk, request


def statistics(stub: Stub) -> pb.ModelStatistics:
    """The statistics of the one model."""
    [stats] = stub.ModelStatistics(pb.ModelStatisticsRequest(name="tiny")).model_stats
    assert isinstance(stats, pb.ModelStatistics)
    return stats


def counts(stats: pb.ModelStatistics) -> dict[str, int]:
    """The counts that are not zero, by name."""
    fields = stats.inference_stats.ListFields()
    return {field.name: total.count for field, total in fields if total.count}


@pytest.fixture
def engine() -> FakeEngine:
    """An engine that counts its batches."""
    return FakeEngine()


@pytest.fixture
def server(fake: Callable[..., Server], engine: FakeEngine) -> Server:
    """A server that has served no call."""
    return fake(engine, max_queue_tokens=8)


@pytest.fixture
def channel(server: Server, connect: Callable[[str], grpc.Channel]) -> grpc.Channel:
    """A channel to the server."""
    return connect(server.target)


@pytest.fixture
def stub(channel: grpc.Channel) -> Stub:
    """The RPCs of the server."""
    return Stub(channel)


def test_new_models(stub: Stub) -> None:
    """The statistics of a new model are zero."""
    stats = statistics(stub)

    assert (stats.name, stats.version, stats.last_inference) == ("tiny", "1", 0)
    assert (stats.inference_count, stats.execution_count) == (0, 0)
    assert not counts(stats)
    assert not stats.batch_stats


def test_requests_texts_and_passes(stub: Stub, channel: grpc.Channel, engine: FakeEngine) -> None:
    """A request is one outcome, however many texts it has; passes are counted by size."""
    stub.ModelInfer(request("a", "b", "c"))
    with Talk(channel) as stream:
        stream.send(request("d", "e"))
        stream.read()

    stats = statistics(stub)

    assert (stats.inference_count, stats.execution_count) == (5, len(engine.batches))
    assert counts(stats) == dict.fromkeys(
        ("success", "queue", "compute_input", "compute_infer", "compute_output"), 2
    )
    sizes = [len(batch) for batch in engine.batches]
    assert {batch.batch_size: batch.compute_infer.count for batch in stats.batch_stats} == {
        size: sizes.count(size) for size in sizes
    }
    stages = stats.inference_stats
    parts = (stages.queue, stages.compute_input, stages.compute_infer, stages.compute_output)
    assert 0 < sum(part.ns for part in parts) <= stages.success.ns + 4
    assert stats.last_inference > 1_700_000_000_000


def test_own_rpcs_count_by_the_text(stub: Stub, channel: grpc.Channel) -> None:
    """Each text of a Classwire call, batch or stream is one outcome."""
    texts = [classwire_pb2.TextInput(text=text) for text in ("a", " ", "b")]
    classify = ClassifyServiceStub(channel)
    classify.Classify(classwire_pb2.ClassifyRequest(input=texts[0]), timeout=PATIENCE_S)
    classify.BatchClassify(classwire_pb2.BatchClassifyRequest(inputs=texts), timeout=PATIENCE_S)
    with Conversation(channel) as stream:
        stream.send_items(item("1", "c"), item("2", ""))
        stream.read_started()
        stream.read_results(2)

    found = counts(statistics(stub))

    assert (found["success"], found["fail"]) == (4, 2)


def test_failures(stub: Stub, channel: grpc.Channel, server: Server, engine: FakeEngine) -> None:
    """A bad, failed or rejected request counts as failed, once; a request for an unknown model
    counts nowhere.
    """
    with Talk(channel) as stream:
        for wrong in (request(" ", "good"), request("nan"), request("boom", "good")):
            with pytest.raises(grpc.RpcError):
                stub.ModelInfer(wrong)
            stream.send(wrong)
            assert stream.read().error_message
    with pytest.raises(grpc.RpcError):
        stub.ModelInfer(request("good", model="other"))
    assert counts(statistics(stub))["fail"] == 6
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(stub.ModelInfer, request(f"slow {SECRET}"))
        engine.wait_for(lambda engine: "slow" in engine.texts[-1])
        queued = pool.submit(stub.ModelInfer, request("I love it"))
        assert eventually(lambda: waiting(server) == 1)

        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            stub.ModelInfer(request("one text", "two texts"))
        own = classwire_pb2.BatchClassifyRequest(
            inputs=[classwire_pb2.TextInput(text=text) for text in ("one text", "two texts")]
        )
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            ClassifyServiceStub(channel).BatchClassify(own, timeout=PATIENCE_S)

        engine.release()
        held.result()
        queued.result()
    assert counts(statistics(stub))["fail"] == 6 + 1 + 2


def test_cached_answers(
    fake: Callable[..., Server], connect: Callable[[str], grpc.Channel]
) -> None:
    """A request whose texts are all cached is a hit and has no stages."""
    stub = Stub(connect(fake(FakeEngine(), cache_mb=1).target))
    for texts in (("a", "b"), ("b", "a"), ("b", "c")):
        stub.ModelInfer(request(*texts))

    stats = statistics(stub)

    found = counts(stats)
    assert (found["success"], found["cache_hit"], found["compute_infer"]) == (3, 1, 2)
    assert (stats.inference_count, stats.execution_count) == (6, 2)
    config = stub.ModelConfig(pb.ModelConfigRequest(name="tiny")).config
    assert config.response_cache.enable


def test_shared_answers(stub: Stub, engine: FakeEngine, server: Server) -> None:
    """A text computed once for several callers has stages for each of them, and is no hit."""
    [entry] = server.registry.entries()
    assert entry.served is not None
    dispatcher = entry.served.dispatcher
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(stub.ModelInfer, request("slow")) for _ in range(2)]
        engine.wait_for(lambda engine: bool(engine.batches))
        assert eventually(lambda: dispatcher.backlog().events.coalesced == 1)
        calls.append(pool.submit(stub.ModelInfer, request("again")))
        assert eventually(lambda: waiting(server) == 1)
        engine.release()
        for call in calls:
            call.result()
    stub.ModelInfer(request("again", "again"))

    stats = statistics(stub)

    found = counts(stats)
    assert "cache_hit" not in found
    assert found["success"] == found["queue"] == found["compute_infer"] == 4
    assert (stats.inference_count, stats.execution_count) == (5, 3)


def test_times_add_up() -> None:
    """The longest time of each stage counts; the rest is the time outside all stages."""
    counted = Statistics(batch_tokens=8)
    one = Outcome(3.0, 1, (0.5, 1.0, 0.25))
    other = Outcome(3.0, 1, (0.25, 1.5, 0.25))
    cached = Outcome(3.0, 1)

    counted.count([Outcome.of_all(3.0, [one, other, cached]), Outcome.of_all(2.0, [cached])])
    counted.count([Outcome.of_all(1.0, [one, Outcome(0.5)]), Outcome.of_all(0.5, [])])

    figures = counted.read()
    seconds = {
        name: (getattr(figures, name).count, getattr(figures, name).sum)
        for name in ("success", "fail", "hit", "tokenize", "queue", "inference", "rest")
    }
    assert seconds == {
        "success": (3, 5.5),
        "fail": (1, 1.0),
        "hit": (2, 2.5),
        "tokenize": (1, 0.5),
        "queue": (1, 1.5),
        "inference": (1, 0.25),
        "rest": (1, 0.75),
    }
    assert figures.texts == 4
