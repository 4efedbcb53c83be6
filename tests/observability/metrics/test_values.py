"""Every metric changes when its event happens."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation
from classwire_server.observability.metrics.definitions import METRICS
from classwire_server.observability.metrics.model_definitions import Metric
from classwire_server.server import Server
from tests.conftest import launch_forked
from tests.contract.conversation import Conversation, item
from tests.contract.engines import LOGITS, PATIENCE_S, FakeEngine, eventually
from tests.observability.metrics.scrape import Scrape

CLASSIFY = "classwire.v1.ClassifyService/Classify"
STREAM = "classwire.v1.ClassifyService/StreamClassify"


def text(words: str) -> pb.ClassifyRequest:
    """A call with one text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=words))


class Busy:
    """A server with a blocked engine, a stream, four queued calls and one call that waits for a
    thread. Two of the queued calls have the same text.
    """

    def __init__(self, bert: Path, ends: ExitStack) -> None:
        self.engine = FakeEngine()
        self.engine.deviation = Deviation(10, 0.9, 0.01)
        ends.callback(self.engine.release)
        config = ServerConfig(
            port=0,
            metrics_port=0,
            model=(f"tiny={bert}",),
            rpc_threads=6,
            max_streams=1,
            max_queue_tokens=64,
            cache_mb=1,
            batch_tokens=16,
        )
        self.server = ends.enter_context(Server(config, self.engine.launch))
        self.channel = ends.enter_context(grpc.insecure_channel(self.server.target))
        self.stub = ClassifyServiceStub(self.channel)
        self.waiting: list[Any] = []

    def fill(self, ends: ExitStack) -> None:
        """Ask for a cached text, make failing calls, then queue all calls."""
        for _ in range(2):
            self.stub.Classify(text("known"), timeout=PATIENCE_S)
        self.refused("nan")
        self.refused("deadly")
        stream = ends.enter_context(
            Conversation(self.channel, item_timeout=Duration(nanos=200_000_000))
        )
        stream.read_started()
        self.waiting.append(self.stub.Classify.future(text("slow"), timeout=PATIENCE_S))
        self.engine.wait_for(lambda engine: "slow" in engine.texts)
        stream.send_items(item("late", "late"))
        stream.read_results(1)
        for number, words in enumerate(("good", "good", "book", "love", "fine")):
            self.waiting.append(self.stub.Classify.future(text(words), timeout=PATIENCE_S))
            assert eventually(lambda n=number: self.waiting_calls() > n)  # type: ignore[misc]

    def waiting_calls(self) -> float:
        """Return how many calls wait for the engine or for a thread."""
        now = Scrape(self.server)
        return now.value("classwire_queue_texts", priority="interactive") + now.value(
            "classwire_rpc_waiting_calls"
        )

    def refused(self, words: str) -> None:
        """Make a call that must fail."""
        with pytest.raises(grpc.RpcError):
            self.stub.Classify(text(words), timeout=PATIENCE_S)

    def draining(self) -> Scrape:
        """Return the metrics of the server while it shuts down."""
        stopping = Thread(target=self.server.stop, args=(PATIENCE_S,))
        stopping.start()
        assert eventually(lambda: Scrape(self.server).value("classwire_draining") == 1)
        seen = Scrape(self.server)
        self.engine.release()
        stopping.join(PATIENCE_S)
        return seen


@pytest.fixture(scope="module")
def scrapes(bert: Path) -> Iterator[dict[str, Scrape]]:
    """Metrics of servers in several states."""
    with ExitStack() as ends:
        busy = Busy(bert, ends)
        busy.fill(ends)
        seen = {"busy": Scrape(busy.server)}
        busy.waiting[4].cancel()
        assert eventually(lambda: Scrape(busy.server).value("classwire_texts_cancelled_total") == 1)
        seen["left"] = Scrape(busy.server)
        seen["draining"] = busy.draining()
        seen["restarted"] = _restarted(bert, ends)
        seen["compared"] = _compared(bert, ends)
        yield seen


def _restarted(bert: Path, ends: ExitStack) -> Scrape:
    """Return the metrics of a server whose worker was killed and restarted between two calls."""
    changes: SimpleQueue[None] = SimpleQueue()

    def launch(source: Any, config: ServerConfig, on_change: Callable[[], None]) -> Any:
        def tell() -> None:
            on_change()
            changes.put(None)

        return launch_forked(source, config, tell)

    config = ServerConfig(port=0, metrics_port=0, model=(f"tiny={bert}",), batch_tokens=512)
    server = ends.enter_context(Server(config, launch))
    stub = ClassifyServiceStub(ends.enter_context(grpc.insecure_channel(server.target)))
    stub.Classify(text("I love it"), timeout=PATIENCE_S)
    [worker] = server.registry.served("", "model").engine.workers
    os.kill(worker.pid, signal.SIGKILL)
    for _ in range(2):  # down, and up again
        changes.get(timeout=PATIENCE_S)
    stub.Classify(text("I love it"), timeout=PATIENCE_S)
    return Scrape(server)


def _compared(bert: Path, ends: ExitStack) -> Scrape:
    """Return the metrics of a server with a reference distribution and a shadow, both of which its
    texts differ from.
    """
    folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
    reference = folder / "reference.json"
    reference.write_text('{"1 star": 200}', "utf-8")
    engines = {"tiny": FakeEngine(), "other": FakeEngine(LOGITS[::-1])}
    config = ServerConfig(
        port=0,
        metrics_port=0,
        model=tuple(f"{name}={bert}" for name in engines),
        reference_distribution=(str(reference),),
        shadow=("tiny=other:1",),
    )
    server = ends.enter_context(Server(config, lambda s, *rest: engines[s.name].launch(s, *rest)))
    stub = ClassifyServiceStub(ends.enter_context(grpc.insecure_channel(server.target)))
    inputs = [pb.TextInput(text="good")] * 200
    stub.BatchClassify(pb.BatchClassifyRequest(inputs=inputs), timeout=PATIENCE_S)
    name = "classwire_shadow_texts_total"
    assert eventually(lambda: Scrape(server).value(name, comparison="differed") > 0)
    return Scrape(server)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_changes(scrapes: dict[str, Scrape], metric: Metric) -> None:
    """Each metric is above 0 in one of the states, as are a histogram's count, sum and buckets."""
    names = [metric.name]
    if metric.kind == "histogram":
        names = [f"{metric.name}_count", f"{metric.name}_sum", f"{metric.name}_bucket"]
    for name in names:
        assert any(value > 0 for scrape in scrapes.values() for value in scrape.values(name))


def test_calls(scrapes: dict[str, Scrape]) -> None:
    """Calls are counted by method, code and reason when they end."""
    name, method = "classwire_calls_total", {"method": CLASSIFY}
    busy, left = scrapes["busy"], scrapes["left"]

    assert busy.value(name, **method, code="OK", reason="") == 2
    assert busy.value(name, **method, code="INTERNAL", reason="INTERNAL") == 1
    assert busy.value(name, **method, code="INTERNAL", reason="POISON_INPUT") == 1
    assert busy.value(name, **method) == 4
    assert left.value(name, **method, code="CANCELLED", reason="") == 1
    assert busy.value("classwire_call_duration_seconds_count", **method) == 4
    assert busy.value("classwire_call_duration_seconds_count", method=STREAM) == 0


def test_a_busy_port(scrapes: dict[str, Scrape]) -> None:
    """A stream and five calls hold threads, and the sixth call waits for one."""
    busy = scrapes["busy"]

    assert busy.value("classwire_calls_in_flight") == 6
    assert busy.value("classwire_rpc_threads_busy") == 6
    assert busy.value("classwire_rpc_waiting_calls") == 1
    assert (busy.value("classwire_streams_open"), busy.value("classwire_streams_limit")) == (1, 1)
    assert busy.value("classwire_stream_items_total", direction="read") == 1
    assert busy.value("classwire_stream_items_total", direction="sent") == 1


def test_a_busy_queue(scrapes: dict[str, Scrape]) -> None:
    """Queued texts count by priority. Two equal texts count twice, but their tokens once."""
    busy = scrapes["busy"]

    assert busy.value("classwire_queue_texts", priority="interactive") == 4
    assert busy.value("classwire_queue_texts", priority="bulk") == 0
    assert busy.value("classwire_queue_tokens", priority="interactive") == 3 * 3
    assert busy.value("classwire_queue_oldest_age_seconds", priority="interactive") > 0
    assert busy.value("classwire_queue_oldest_age_seconds", priority="bulk") == 0
    assert busy.value("classwire_lanes_busy") == 1


def test_outcomes_of_texts(scrapes: dict[str, Scrape]) -> None:
    """Texts count as scored, failed, expired, cancelled, retried, coalesced or cached."""
    busy, left = scrapes["busy"], scrapes["left"]

    assert busy.value("classwire_texts_total") == 2
    assert busy.value("classwire_text_failures_total", reason="INTERNAL") == 1
    assert busy.value("classwire_text_failures_total", reason="POISON_INPUT") == 1
    assert busy.value("classwire_text_failures_total", reason="EXPIRED_IN_QUEUE") == 1
    assert busy.value("classwire_text_failures_total") == 3
    assert busy.value("classwire_poison_inputs") == 1
    assert busy.value("classwire_texts_expired_total") == 1
    assert busy.value("classwire_texts_retried_total") == 1
    assert busy.value("classwire_texts_coalesced_total") == 1
    assert busy.value("classwire_cache_hits_total") == 1
    assert left.value("classwire_texts_cancelled_total") == 1


def test_a_restart(scrapes: dict[str, Scrape]) -> None:
    """A restart is counted, and the memory is that of the new worker."""
    restarted = scrapes["restarted"]

    assert restarted.value("classwire_worker_restarts_total", worker="0", device="cpu") == 1
    assert restarted.value("classwire_worker_up") == 1
    assert restarted.value("classwire_worker_resident_memory_bytes") > 10e6
    assert restarted.value("classwire_batch_texts_sum") == 2


def test_the_model(scrapes: dict[str, Scrape]) -> None:
    """Metrics have the checkpoint and its engine, the measured deviation and the state."""
    busy, restarted = scrapes["busy"], scrapes["restarted"]
    [info] = restarted.labels("classwire_model_info")

    assert len(info["fingerprint"]) == 64
    assert (info["model"], info["precision"], info["execution"]) == ("tiny", "float32", "plain")
    assert busy.value("classwire_model_score_deviation") == 0.01
    assert busy.value("classwire_model_label_agreement_ratio") == 0.9
    assert busy.value("classwire_model_state", state="ready") == 1
    assert busy.value("classwire_model_state") == 1
