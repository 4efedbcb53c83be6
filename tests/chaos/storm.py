"""Many callers whose deadlines expire before their answers."""

import os
import threading
from collections.abc import Callable

from benchmarks.instrument import Instrument
from classwire import Classification, Client
from classwire_server.server import Server

from .callers import PATIENCE_S
from .footprint import Footprint
from .known import Known
from .servers import inside, worker_pid
from .trial import Plan, Report, Trial

PROBES = 20
LOOKS = 10
"""Checks, a tenth of a second apart."""


def run(plan: Plan) -> Report:
    """Run a rehearsal, which starts everything that stays, then the storm that counts."""
    report = Report()
    calls = 500 if plan.is_short else 5_000
    with (
        Instrument("tests.chaos.hasty", plan.cores) as hasty,
        inside(plan, batch_tokens=512) as server,
    ):
        known = Known.ask(server.target, PROBES)
        _start_all_threads(server)
        hasty.ask("storm", target=server.target, calls=calls // 10)
        assert _eventually(lambda: _is_quiet(server)), "calls are left after the rehearsal"
        pids = {"server": os.getpid(), "model": worker_pid(server)}
        before = {name: _at_rest(pid) for name, pid in pids.items()}
        codes = hasty.ask("storm", target=server.target, calls=calls)
        quiet = _eventually(lambda: _is_quiet(server))
        _eventually(lambda: all(_is_back(pids[name], before[name]) for name in pids))
        after = {name: Footprint.of(pid) for name, pid in pids.items()}
        with Client(server.target, timeout_s=PATIENCE_S) as client:
            health = client.health()
            answers = client.classify_batch([known.text(n) for n in range(PROBES)])
    counts = ", ".join(f"{n:,} {code}" for code, n in sorted(codes.items(), key=lambda c: -c[1]))
    report.add("calls that ended", f"{calls:,}", counts, sum(codes.values()) == calls)
    cancelled = codes.get("CANCELLED", 0)
    report.add(
        "cancelled by the caller",
        "about a third",
        f"{cancelled / calls:.0%}",
        0.25 < cancelled / calls < 0.4,
    )
    report.add("calls in flight and texts waiting", "0", 0 if quiet else "some", quiet)
    report.add("health", "SERVING", health, health == "SERVING")
    right = sum(
        isinstance(answer, Classification) and known.is_right(n, answer)
        for n, answer in enumerate(answers)
    )
    report.add("right answers afterwards", f"{PROBES} of {PROBES}", right, right == PROBES)
    for name in pids:
        was, now = before[name], after[name]
        report.add(
            f"threads and open files of the {name}'s process",
            f"{was.threads} and {was.descriptors}, as before",
            f"{now.threads} and {now.descriptors}",
            now.is_within(was),
        )
    return report


def _start_all_threads(server: Server) -> None:
    """Make the server start all threads for calls; its pool starts them on demand, and keeps
    them.
    """
    together = threading.Barrier(server.config.rpc_threads + 1)
    for _ in range(server.config.rpc_threads):
        server.calls.submit(together.wait)
    together.wait(PATIENCE_S)


def _is_quiet(server: Server) -> bool:
    dispatcher = server.registry.served("", "model").dispatcher
    return server.gate.wait_until_empty(0) and not dispatcher.waiting_texts


def _at_rest(pid: int) -> Footprint:
    """Return the resources of a process once they are stable for a second.

    gRPC starts and ends threads of its own at any time, which must not count against the storm.
    """
    seen = [Footprint.of(pid)]

    def is_steady() -> bool:
        seen.append(Footprint.of(pid))
        held = {(one.threads, one.descriptors) for one in seen[-LOOKS:]}
        return len(seen) >= LOOKS and len(held) == 1

    _eventually(is_steady)
    return seen[-1]


def _is_back(pid: int, before: Footprint) -> bool:
    return Footprint.of(pid).is_within(before)


def _eventually(condition: Callable[[], bool]) -> bool:
    """Poll until a condition is true; gRPC keeps idle threads for a while."""
    tick = threading.Event()
    return any(condition() or tick.wait(0.1) for _ in range(round(PATIENCE_S / 0.1)))


STORM = Trial(
    "storm",
    "Calls have deadlines of 1 to 20 ms (of ten, eight unary, a batch and a stream), and the "
    "caller cancels a third of them.",
    run,
)
