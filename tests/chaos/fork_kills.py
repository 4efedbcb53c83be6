"""Kills of the fork server under load: while it is idle, and while it forks a worker."""

import os
import random
import signal
import threading
from contextlib import ExitStack
from dataclasses import dataclass

from classwire_server.engine.worker.forking import FORK_SERVER
from classwire_server.engine.worker.pool import WorkerPool
from classwire_server.server import Server
from tests.contract.engines import eventually
from tests.engine.worker.callers import is_gone
from tests.engine.worker.surroundings import ends as ends_at_once
from tests.engine.worker.surroundings import forked

from .callers import PATIENCE_S, Ledger, start
from .known import Known
from .servers import inside
from .trial import Plan, Report

WHILE_IT_FORKS_S = (0.08, 0.16)
"""Time from the kill of a worker to that of the fork server: the worker restarts after 0.1 s."""

FULL, SHORT = 10, 1
"""Servers one after the other, each with two kills."""


@dataclass
class Counts:
    """Kills of a fork server, the workers that stayed, and those that came back.

    `failed` counts the texts that failed around the kills of idle fork servers.
    """

    idle: int = 0
    stayed: int = 0
    failed: int = 0
    forking: int = 0
    back: int = 0


def kill_fork_servers(plan: Plan, report: Report) -> None:
    """Kill fork servers, and add the findings."""
    drawn, counts, ledger = random.Random(1), Counts(), None
    for number in range(SHORT if plan.is_short else FULL):
        with inside(plan, batch_tokens=256) as server:
            ledger = ledger or Ledger(Known.ask(server.target, 100, (5, 30)))
            _round(server, ledger, counts, drawn)
        plan.say(f"fork server {number + 1}: killed idle and while it forks")
    assert ledger is not None
    what = f"fork servers killed while idle, {counts.idle}: workers that go on"
    report.add(what, str(counts.idle), counts.stayed, counts.stayed == counts.idle)
    report.add("texts that fail meanwhile", "0", counts.failed, not counts.failed)
    what = f"fork servers killed about when they fork, {counts.forking}: models that come back"
    report.add(what, str(counts.forking), counts.back, counts.back == counts.forking)
    # The model is away for an import of torch, which may be longer than a caller tries again.
    callers = "callers while fork servers are killed"
    ledger.report(report, callers, may_fail=("WORKER_LOST",))


def _round(server: Server, ledger: Ledger, counts: Counts, drawn: random.Random) -> None:
    engine = server.registry.served("", "model").engine
    assert isinstance(engine, WorkerPool)
    with ExitStack() as ends:
        start(ends, server.target, ledger, unary=2, batches=1, streams=1)
        assert ledger.wait_for_answers(5)

        before, failed = engine.pids, ledger.failures.total()
        _kill_fork_server()
        assert ledger.wait_for_answers(5)
        counts.idle += 1
        counts.stayed += engine.pids == before
        counts.failed += ledger.failures.total() - failed

        with forked(ends_at_once):
            pass  # another fork server is ready
        os.kill(before[0], signal.SIGKILL)
        threading.Event().wait(drawn.uniform(*WHILE_IT_FORKS_S))
        _kill_fork_server()
        counts.forking += 1
        counts.back += eventually(lambda: engine.pids not in ((), before), PATIENCE_S)
        assert ledger.wait_for_answers(5)


def _kill_fork_server() -> None:
    pid = FORK_SERVER.pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: is_gone(pid))
