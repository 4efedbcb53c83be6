"""An overloaded server that is stopped for a while: the calls of that time are late, and must
not delay later ones.
"""

import os
import signal
import threading
import time

from benchmarks.figures import digits
from benchmarks.workload import mixed

from .levels import DEADLINE_S
from .open_loop import ANSWERED, HANGS, Call
from .overload import MOST_TOKENS, SETTLE_S, WARM_UP_S, bench_of, serving
from .trial import Plan, Report, Trial

LOAD = 5
"""Multiple of the capacity."""
SECONDS = 25.0
STANDS_AFTER_S = 12.0
"""Time from the request to the load side, which first makes its texts."""
STANDS_S = 1.5
"""Longer than a deadline: all waiting calls are late."""
CATCHES_UP_S = 3.0
"""Calls that are due within this time after it do not count."""
LEAST_SHARE = 0.5


class Standstill(threading.Thread):
    """Stops a process for a while. `began_s` and `ended_s` are instants of the monotonic clock."""

    def __init__(self, pid: int, after_s: float = STANDS_AFTER_S) -> None:
        super().__init__(daemon=True)
        self._after_s = after_s
        self.began_s = self.ended_s = 0.0
        self._pid = pid

    def run(self) -> None:
        """Wait, stop the process, continue it."""
        time.sleep(self._after_s)
        self.began_s = time.monotonic()
        os.kill(self._pid, signal.SIGSTOP)
        time.sleep(STANDS_S)
        os.kill(self._pid, signal.SIGCONT)
        self.ended_s = time.monotonic()


def run(plan: Plan) -> Report:
    """Stop the embedded checkpoint's server under overload."""
    lengths = [n for n in mixed().lengths if n <= MOST_TOKENS] * 4
    with (
        bench_of(plan, "embedded", lengths, SECONDS) as bench,
        serving(plan, "embedded", {}) as subject,
    ):
        capacity_per_s = bench.capacity_per_s(subject.target)
        standstill = Standstill(subject.server.pid)
        standstill.start()
        sample = bench.load_side.ask(
            "run",
            target=subject.target,
            lengths=lengths,
            per_s=LOAD * capacity_per_s,
            seconds=SECONDS,
            deadline_s=DEADLINE_S,
            words="embedded",
        )
        standstill.join()
        settled = subject.server.ask("settle", timeout_s=SETTLE_S)
    calls = [Call(*fields) for fields in sample["calls"]]
    began_s, ended_s = (
        standstill.began_s - sample["began_s"],
        standstill.ended_s - sample["began_s"],
    )
    plan.say(f"stood still from {began_s:.1f} to {ended_s:.1f} s of {SECONDS:g}")
    # Calls due within a deadline of the stop may have their answers only after it.
    before_per_s = answers_per_s(calls, WARM_UP_S, began_s - DEADLINE_S)
    after_per_s = answers_per_s(calls, ended_s + CATCHES_UP_S, SECONDS)
    hung = sum(call.outcome == HANGS for call in calls)
    report = Report()
    report.add(
        f"answers in time per second before the stop ÷ capacity ({digits(capacity_per_s)} calls/s)",
        f"at least {LEAST_SHARE}",
        f"{digits(before_per_s / capacity_per_s)}: {digits(before_per_s)}",
        before_per_s >= LEAST_SHARE * capacity_per_s,
    )
    report.add(
        f"answers in time per second from {CATCHES_UP_S:g} s after the stop on ÷ before it",
        f"at least {LEAST_SHARE}",
        f"{digits(after_per_s / before_per_s) if before_per_s else 0}: {digits(after_per_s)}",
        0 < LEAST_SHARE * before_per_s <= after_per_s,
    )
    report.add(
        "calls without an outcome; the server became idle",
        "0; yes",
        f"{hung}; {'yes' if settled else 'no'}",
        not hung and settled,
    )
    return report


def answers_per_s(calls: list[Call], since_s: float, until_s: float) -> float:
    """Return the answers in time per second, of calls that were due between two instants."""
    answered = sum(
        call.outcome == ANSWERED and call.took_s <= DEADLINE_S
        for call in calls
        if since_s <= call.due_s < until_s
    )
    return answered / (until_s - since_s)


STANDSTILL = Trial(
    "standstill",
    f"The embedded checkpoint at {LOAD} times its capacity, with a deadline of {DEADLINE_S:g} s "
    "for each call. Server and worker share one core, and the load has another. A signal stops the "
    f"server for {STANDS_S:g} s.",
    run,
)
