"""A model's process that is killed, or hangs, under load."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.contract.engines import eventually
from tests.engine.worker.callers import stop

from .blind_kills import kill_blindly
from .callers import PATIENCE_S, Ledger, start
from .fork_kills import kill_fork_servers
from .known import Known
from .servers import Standalone, inside, worker_pid
from .trial import Plan, Report, Trial

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


class Health:
    """The statuses that a watcher of a server's health gets during the block."""

    def __init__(self, target: str) -> None:
        self.statuses: list[int] = []
        self._changed = threading.Condition()  # guards statuses
        self._channel = grpc.insecure_channel(target)
        stub: Any = HealthStub(self._channel)
        self._call = stub.Watch(HealthCheckRequest())
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def wait_for(self, count: int) -> bool:
        """Wait until this many statuses came in all."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.statuses) >= count, PATIENCE_S)

    def _watch(self) -> None:
        try:
            for response in self._call:
                with self._changed:
                    self.statuses.append(response.status)
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


class WorkerFaults:
    """Faults of workers, and the findings of each."""

    def __init__(self, answers_between: int) -> None:
        self.least_in_flight = 1 << 30
        self._answers_between = answers_between
        self.count = 0
        self.back = 0

    def inject(
        self, ledgers: Sequence[Ledger], health: Health, pid: int, fault: Callable[[int], None]
    ) -> None:
        """End the worker by a fault in the middle of a batch, and wait until all is well again."""
        for ledger in ledgers:
            assert ledger.wait_for_answers(self._answers_between), "no answers"
        before = len(health.statuses)
        in_flight = sum(len(ledger.open) for ledger in ledgers)
        assert eventually(lambda: is_computing(pid)), "the worker is idle"
        fault(pid)
        self.least_in_flight = min(self.least_in_flight, in_flight)
        self.count += 1
        assert health.wait_for(before + 1), "the server does not report the lost worker"
        suspected = [ledger.open for ledger in ledgers]
        if health.wait_for(before + 2):
            self.back += health.statuses[before:] == [NOT_SERVING, SERVING]
        for ledger, numbers in zip(ledgers, suspected, strict=True):
            ledger.wait_for(numbers)


def is_computing(pid: int) -> bool:
    """Return whether one of a process's threads is running."""
    stats = Path(f"/proc/{pid}/task").glob("*/stat")
    for stat in stats:
        with suppress(OSError):  # a thread that has just ended
            if stat.read_text().rpartition(")")[2].split()[0] == "R":
                return True
    return False


def kill(pid: int) -> None:
    """Kill a process."""
    os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class Scale:
    """Sizes of a run. Between two faults the callers with retries, and those without, get
    `answers_between` answers each.
    """

    servers: int
    kills: int
    known: int
    tokens: tuple[int, int]
    answers_between: int
    settings: Mapping[str, Any]


FULL = Scale(4, 5, 1_000, (10, 100), 100, {"worker_timeout_s": 5.0})
SHORT = Scale(
    1,
    2,
    100,
    (5, 15),
    5,
    {"worker_timeout_s": 2.0, "stream_window_items": 32, "stream_items_per_message": 16},
)


@contextmanager
def _load(target: str, ledger: Ledger, untried: Ledger) -> Iterator[None]:
    """Run unary calls, batches and a stream with retries, and unary calls without."""
    with ExitStack() as ends:
        start(ends, target, ledger, unary=4, batches=1, streams=1)
        start(ends, target, untried, retry=False, unary=2)
        yield


@contextmanager
def _server(plan: Plan, settings: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield a server's target and the process id of its model."""
    if plan.is_short:
        with inside(plan, batch_tokens=256, **settings) as server:
            yield server.target, lambda: worker_pid(server)
    else:
        with Standalone(**settings) as process:
            yield process.target, lambda: process.worker_pid


def run(plan: Plan) -> Report:
    """Kill workers, and stop one so that it hangs."""
    report, scale = Report(), SHORT if plan.is_short else FULL
    kill_faults, hangs = (WorkerFaults(scale.answers_between) for _ in range(2))
    ledgers: list[Ledger] = []
    for number in range(scale.servers):
        with _server(plan, scale.settings) as (target, pid):
            if not ledgers:
                known = Known.ask(target, scale.known, scale.tokens)
                ledgers = [Ledger(known), Ledger(known)]
            with _load(target, *ledgers), Health(target) as health:
                assert health.wait_for(1)
                for n in range(scale.kills):
                    kill_faults.inject(ledgers, health, pid(), kill)
                    plan.say(f"server {number + 1}: killed {n + 1} times")
                if number == 0:
                    hangs.inject(ledgers, health, pid(), stop)
                    plan.say("hung once")
    kills = scale.servers * scale.kills
    for what, wanted, found in (("killed", kills, kill_faults), ("stopped", 1, hangs)):
        report.add(
            f"process {what} in the middle of a batch; SERVING again",
            f"{wanted}, {wanted}",
            f"{found.count}, {found.back}",
            found.count == found.back == wanted,
        )
    fewest = min(kill_faults.least_in_flight, hangs.least_in_flight)
    report.add("texts in flight at that moment", "at least 1", f"at least {fewest}", fewest >= 1)
    ledgers[0].report(report, "callers")
    ledgers[1].report(report, "callers without retries", may_fail=("WORKER_LOST",))
    kill_blindly(plan, report)
    kill_fork_servers(plan, report)
    return report


KILLS = Trial(
    "kills",
    "A model's process under load (unary calls, batches, a stream) is killed in the middle of "
    "batches, and once stopped so that it hangs. Others are killed at random moments. Then fork "
    "servers are killed, idle and while they fork. The wait before a restart doubles, so the kills "
    "are spread over many servers, one after the other.",
    run,
)
