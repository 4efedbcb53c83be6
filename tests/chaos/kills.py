"""A model's process that is killed, hangs, or fails, while callers go on."""

import itertools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from classwire_server.engine import worker
from classwire_server.engine.link import Link
from classwire_server.engine.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from tests.contract.engines import eventually
from tests.faults import spawn_with
from tests.server.callers import stop

from .callers import PATIENCE_S, Ledger, start
from .known import Known
from .servers import Standalone, inside, worker_pid
from .trial import Plan, Report, Trial

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
WORKER_TIMEOUT_S = 5.0
ANSWERS_BETWEEN = 200
BATCHES_PER_FAILURE = 50


class Health:
    """What a watcher of a server's health hears, while the block lasts."""

    def __init__(self, target: str) -> None:
        self.heard: list[int] = []
        self._changed = threading.Condition()  # guards heard
        self._channel = grpc.insecure_channel(target)
        stub: Any = HealthStub(self._channel)
        self._call = stub.Watch(HealthCheckRequest())
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def wait_for(self, statuses: int) -> bool:
        """Wait until so many statuses were heard in all."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.heard) >= statuses, PATIENCE_S)

    def _listen(self) -> None:
        try:
            for response in self._call:
                with self._changed:
                    self.heard.append(response.status)
                    self._changed.notify_all()
        except grpc.RpcError:  # the end of the block
            pass

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._call.cancel()
        self._channel.close()
        self._thread.join(PATIENCE_S)


class Killings:
    """What has befallen workers, and what was found each time."""

    def __init__(self) -> None:
        self.least_in_flight = 1 << 30
        self.killed = 0
        self.back = 0

    def befall(self, ledgers: Sequence[Ledger], health: Health, fault: Callable[[], None]) -> None:
        """Let a fault end the worker under load; wait until all is well again.

        Nothing else may befall the texts that were in flight: each now runs alone, and one whose
        worker ends a second time can't be told from one that kills it.
        """
        for ledger in ledgers:
            assert ledger.wait_for_answers(ANSWERS_BETWEEN // len(ledgers)), "nothing is answered"
        heard = len(health.heard)
        in_flight = sum(len(ledger.open) for ledger in ledgers)
        fault()
        self.least_in_flight = min(self.least_in_flight, in_flight)
        self.killed += 1
        assert health.wait_for(heard + 1), "the loss of the worker is not noticed"
        suspected = [ledger.open for ledger in ledgers]
        if health.wait_for(heard + 2):
            self.back += health.heard[heard:] == [NOT_SERVING, SERVING]
        for ledger, numbers in zip(ledgers, suspected, strict=True):
            ledger.wait_for(numbers)


def is_computing(pid: int) -> bool:
    """Whether one of a process's threads is running."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    for stat in stats:
        with suppress(OSError):  # a thread that has just ended
            if stat.read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def kill(pid: int) -> None:
    """End a process that is in the middle of a batch."""
    assert eventually(lambda: is_computing(pid)), "the worker has nothing to do"
    os.kill(pid, signal.SIGKILL)


@contextmanager
def _load(target: str, ledger: Ledger, untried: Ledger) -> Iterator[None]:
    """Unary calls, batches and a stream; and unary calls that are not tried again."""
    with ExitStack() as ends:
        start(ends, target, ledger, unary=4, batches=1, streams=1)
        start(ends, target, untried, retry=False, unary=2)
        yield


@contextmanager
def _server(plan: Plan, **settings: Any) -> Iterator[tuple[str, Callable[[], int]]]:
    """Where a server is, and which process its model is in."""
    if plan.is_short:
        with inside(plan, **settings) as server:
            yield server.target, lambda: worker_pid(server)
    else:
        with Standalone(**settings) as process:
            yield process.target, lambda: process.worker_pid


def run(plan: Plan) -> Report:
    """Kill workers; let one hang; let one fail at times."""
    report, killings, hangs = Report(), Killings(), Killings()
    servers, kills = (1, 2) if plan.is_short else (4, 5)
    ledgers: list[Ledger] = []
    for number in range(servers):
        with _server(plan, worker_timeout_s=WORKER_TIMEOUT_S) as (target, pid):
            known = (
                ledgers[0].known if ledgers else Known.ask(target, 100 if plan.is_short else 1_000)
            )
            ledgers = ledgers or [Ledger(known), Ledger(known)]
            with _load(target, *ledgers), Health(target) as health:
                assert health.wait_for(1)
                for n in range(kills):
                    killings.befall(ledgers, health, lambda: kill(pid()))
                    plan.say(f"server {number + 1}: killed {n + 1} times")
                if number == 0:
                    hangs.befall(ledgers, health, lambda: stop(pid()))
                    plan.say("hung once")
    report.add(
        "kills, each in the middle of a batch",
        str(servers * kills),
        killings.killed,
        killings.killed == servers * kills,
    )
    fewest = min(killings.least_in_flight, hangs.least_in_flight)
    report.add("texts in flight at a kill, at least", "1", fewest, fewest >= 1)
    report.add(
        "SERVING again after a kill",
        "each time",
        f"{killings.back} of {killings.killed}",
        killings.back == killings.killed,
    )
    report.add(
        "SERVING again after a hang",
        "once",
        f"{hangs.back} of {hangs.killed}",
        hangs.back == hangs.killed == 1,
    )
    ledgers[0].report(report, "callers")
    ledgers[1].report(report, "callers that try nothing again", may_fail=("WORKER_LOST",))
    _raising(plan, report)
    return report


def fails_at_times(control: Link, links: Sequence[Link]) -> None:
    """A worker in which one forward pass of so many raises."""
    passes, forward = itertools.count(1), PackedEngine.run

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if next(passes) % BATCHES_PER_FAILURE == 0:
            raise RuntimeError("one of those that fail")
        return forward(self, texts)

    PackedEngine.run = run  # type: ignore[method-assign]
    worker.main(control, links)


class _Failures(logging.Handler):
    """Counts the batches that the server says have failed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "running it again in parts" in record.getMessage()


def _raising(plan: Plan, report: Report) -> None:
    failures, wanted = _Failures(), 1 if plan.is_short else 20
    logger = logging.getLogger("classwire_server.computation")
    with inside(plan, spawn_with(fails_at_times), batch_tokens=512) as server:
        ledger = Ledger(Known.ask(server.target, 100 if plan.is_short else 1_000))
        logger.addHandler(failures)
        try:
            with ExitStack() as ends:
                start(ends, server.target, ledger, unary=4, batches=1, streams=1)
                assert ledger.wait_until(lambda: failures.count >= wanted)
        finally:
            logger.removeHandler(failures)
    found = f"{failures.count} times"
    report.add(
        f"one batch in {BATCHES_PER_FAILURE} raises",
        f"at least {wanted} times",
        found,
        failures.count >= wanted,
    )
    ledger.report(report, "callers while batches raise")


KILLS = Trial(
    "kills",
    "A model's process under load (unary calls, batches, a stream): killed from outside in the "
    "middle of batches, stopped so that it hangs, and with one batch of 50 raising. Waits before "
    "a restart double, so the kills are spread over four servers.",
    run,
)
