"""Mixed traffic for a long time, and the resources of the processes in between."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from statistics import median

from classwire import Client
from tests.contract.engines import eventually

from .callers import PATIENCE_S, Ledger, start
from .footprint import Footprint
from .known import Known
from .misuse import Misuse
from .servers import Standalone
from .trial import Plan, Report, Trial


@dataclass(frozen=True)
class Laps:
    """Traffic in laps of `seconds`, with a rest after each; the first `warm_up` laps do not count.

    `most_growth` is the share by which memory may grow afterwards.
    """

    count: int
    warm_up: int
    seconds: float
    rest_s: float
    most_growth: float


FULL = Laps(80, 20, 12.0, 3.0, 0.02)
SHORT = Laps(20, 8, 2.0, 1.0, 0.3)
"""A minute does not warm a server up: this finds only leaks of every call."""


def run(plan: Plan) -> Report:
    """Run lap after lap."""
    report = Report()
    laps = SHORT if plan.is_short else FULL
    samples: dict[str, list[Footprint]] = {"server": [], "model": []}
    with Standalone(rpc_threads=16, max_streams=8) as server:
        ledger = Ledger(Known.ask(server.target, 1_000))
        misuse = Misuse(server.target, ledger.known)
        _start_all_threads(server.target, ledger.known)
        for number in range(1, laps.count + 1):
            _lap(server.target, ledger, misuse, laps.seconds)
            _rest(laps.rest_s)
            for name, pid in (("server", server.pid), ("model", server.worker_pid)):
                samples[name].append(_at_rest(pid, samples[name][laps.warm_up - 1 : laps.warm_up]))
            now = ", ".join(f"{name}'s {held[-1]}" for name, held in samples.items())
            plan.say(f"lap {number}: {ledger.right:,} answers, {misuse.done:,} misuses; {now}")
    ledger.report(report, "callers")
    others = "; ".join(sorted(set(misuse.unexpected))) or "none"
    report.add(
        "wrong requests with an unexpected end",
        "none",
        f"{others}, of {misuse.done:,}",
        misuse.done > 0 and not misuse.unexpected,
    )
    for name, held in samples.items():
        _judge(report, name, held[laps.warm_up - 1], held[laps.warm_up :], laps.most_growth)
    report.series["laps"] = {name: [asdict(one) for one in held] for name, held in samples.items()}
    return report


def _start_all_threads(target: str, known: Known) -> None:
    """Make the server start all threads for calls; its pool starts them on demand, and keeps
    them.
    """
    batch = [known.text(n) for n in range(64)]
    with Client(target, timeout_s=PATIENCE_S) as client, ThreadPoolExecutor(32) as pool:
        for outcomes in pool.map(lambda _: client.classify_batch(batch), range(32)):
            assert outcomes


def _lap(target: str, ledger: Ledger, misuse: Misuse, seconds: float) -> None:
    """Run traffic for `seconds`, with new clients."""
    ends_s = time.monotonic() + seconds
    with ExitStack() as ends:
        start(ends, target, ledger, unary=3, batches=1, streams=1)
        while time.monotonic() < ends_s:
            misuse()


def _rest(seconds: float) -> None:
    """Wait until the system has reclaimed what ended."""
    threading.Event().wait(seconds)


def _at_rest(pid: int, warm: Sequence[Footprint]) -> Footprint:
    """Return the resources of a process once they do not exceed the warm ones, or after a
    timeout.
    """
    eventually(lambda: all(Footprint.of(pid).is_within(one) for one in warm))
    return Footprint.of(pid)


def _judge(
    report: Report, name: str, warm: Footprint, later: Sequence[Footprint], most_growth: float
) -> None:
    held = [one.own_bytes for one in later]
    share = len(held) // 3
    # malloc's reserve varies by a tenth from rest to rest, while a leak stays. The median of all
    # rests moves by less than a hundredth, the minimum by more.
    first, last = median(held[:share]), median(held[-share:])
    report.add(
        f"median memory of the {name}'s process at rest, last third of the time ÷ first",
        f"at most {1 + most_growth:.2f}",
        f"{last / first:.3f} ({first / 1e6:.1f} MB; at most {max(held) / 1e6:.1f})",
        last <= (1 + most_growth) * first,
    )
    report.add(
        f"threads and open files of the {name}'s process",
        f"{warm.threads} and {warm.descriptors}",
        f"at most {max(one.threads for one in later)} and {max(one.descriptors for one in later)}",
        all(one.is_within(warm) for one in later),
    )


SOAK = Trial(
    "soak",
    "Unary calls, batches, streams and new connections run in laps, for 20 minutes. Meanwhile "
    "there are calls without time, cancelled calls, abandoned streams, and every kind of error. "
    "After each lap the trial measures the idle processes of server and model.",
    run,
)
