"""More idle streams than the server has threads."""

import queue
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from benchmarks.figures import digits, quantile
from benchmarks.instrument import Instrument, MeasurementError, seconds_of
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig

from .open_loop import ending
from .trial import Plan, Report, Trial

SURPLUS = 50
TIMEOUT_S = 10.0
REJECTED = "RESOURCE_EXHAUSTED TOO_MANY_STREAMS"


class IdleStream:
    """A stream that sends a config and no item. The block's end ends it."""

    def __init__(self, stub: Any) -> None:
        self._outgoing: queue.SimpleQueue[pb.StreamClassifyRequest | None] = queue.SimpleQueue()
        self._outgoing.put(pb.StreamClassifyRequest(config=pb.StreamConfig()))
        self._call = stub.StreamClassify(self._requests())

    def begin(self) -> tuple[str, float | None]:
        """Wait for the first answer; return "" for an open stream, else its status and the retry
        time.
        """
        try:
            next(self._call)
        except grpc.RpcError:
            return ending(self._call)
        return "", None

    def end(self) -> None:
        """Half-close, and wait for the end."""
        self._outgoing.put(None)
        for _ in self._call:
            raise MeasurementError("an idle stream had an answer")

    def cancel(self) -> None:
        """Cancel it; does nothing when it has ended."""
        self._outgoing.put(None)
        self._call.cancel()

    def _requests(self) -> Iterator[pb.StreamClassifyRequest]:
        while (message := self._outgoing.get()) is not None:
            yield message


def run(plan: Plan) -> Report:
    """Open idle streams on the embedded checkpoint with default settings."""
    config = ServerConfig()
    count = config.rpc_threads + SURPLUS
    calls = 50 if plan.is_short else 500
    request = pb.ClassifyRequest(input=pb.TextInput(text="fine, thanks"))
    with ExitStack() as ends:
        server = ends.enter_context(Instrument("tests.chaos.observed_server", plan.cores))
        target = server.ask("start", settings={})
        channel = ends.enter_context(grpc.insecure_channel(target))
        stub: Any = ClassifyServiceStub(channel)
        health: Any = HealthStub(channel)

        def call() -> None:
            stub.Classify(request, timeout=TIMEOUT_S)

        def check() -> None:
            answer = health.Check(HealthCheckRequest(), timeout=TIMEOUT_S)
            if answer.status != HealthCheckResponse.SERVING:
                raise MeasurementError("the health check returns NOT_SERVING")

        idle_s = [seconds_of(call) for _ in range(calls)]
        streams = [IdleStream(stub) for _ in range(count)]
        for stream in streams:
            ends.callback(stream.cancel)
        begun = [stream.begin() for stream in streams]
        plan.say(f"{count} streams begun")
        calls_s = [seconds_of(call) for _ in range(calls)]
        checks_s = [seconds_of(check) for _ in range(calls)]
        for stream, (outcome, _) in zip(streams, begun, strict=True):
            if not outcome:
                stream.end()
        again = IdleStream(stub)
        ends.callback(again.cancel)
        again_outcome, _ = again.begin()
    report = Report()
    report.add(
        f"of {count} streams, open",
        f"{config.max_streams}, the limit",
        opened := sum(not outcome for outcome, _ in begun),
        opened == config.max_streams,
    )
    rejected = [after for outcome, after in begun if outcome == REJECTED and after is not None]
    report.add(
        "rejected with TOO_MANY_STREAMS and RetryInfo",
        "all others",
        len(rejected),
        len(rejected) == count - config.max_streams,
    )
    report.add(
        f"{calls} calls meanwhile, p50 and p99",
        "answered",
        f"{_milliseconds(calls_s)}; before the streams {_milliseconds(idle_s)}",
        len(calls_s) == calls,
    )
    report.add(
        f"{calls} health checks meanwhile, p50 and p99",
        "SERVING",
        _milliseconds(checks_s),
        len(checks_s) == calls,
    )
    report.add(
        "a new stream after the idle ones half-closed",
        "open",
        again_outcome or "open",
        not again_outcome,
    )
    return report


def _milliseconds(taken_s: list[float]) -> str:
    return f"{digits(1e3 * quantile(taken_s, 0.5))} and {digits(1e3 * quantile(taken_s, 0.99))} ms"


IDLE_STREAMS = Trial(
    "idle-streams",
    f"Callers open as many streams as the pool has threads, and {SURPLUS} more, and send nothing. "
    "Embedded checkpoint, default settings.",
    run,
)
