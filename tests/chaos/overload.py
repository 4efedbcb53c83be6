"""More calls than the server can answer: what can be done in time is done, the rest refused."""

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.checkpoints import BERT_BASE, BERT_SLICE, save
from benchmarks.figures import digits
from benchmarks.instrument import Instrument
from benchmarks.workload import mixed

from .levels import DEADLINE_S, Level, add_findings, level
from .observed_server import Run
from .open_loop import Call
from .trial import Plan, Report, Trial

LOADS = (1, 2, 5, 10)
"""Times the capacity."""
MOST_TOKENS = 150
"""A text of 500 tokens takes BERT-base about a second of one core by itself: no queue, no order and
no admission could answer it in time. These are the sentences and whole reviews of the workload.
"""
IN_FLIGHT = 16
"""In the closed loop that measures capacity: enough for full batches."""
WARM_UP_S = 3.0
"""Calls of the first seconds are made and not counted: the queue fills, the drain rate settles."""
SETTLE_S = 5.0
DOUBLED = (1.7, 2.5)
"""What counts as twice. With half the work done in time a little more than half is refused."""
MOST_SENT_LATE_S = 0.05
"""The load side keeps up while nearly all calls are sent this soon after they were due."""


@dataclass(frozen=True)
class Bench:
    """A server on one core and the load on another. For use by one thread."""

    plan: Plan
    checkpoint: str
    settings: dict[str, Any]
    lengths: Sequence[int]
    seconds: float

    def levels(
        self, loads: Sequence[float], capacity_per_s: float = 0.0, **how: Any
    ) -> list[Level]:
        """Put loads on a server, one after the other; the capacity is measured unless known."""
        found = []
        with ExitStack() as ends:
            first, last = self.plan.cores[:1], self.plan.cores[-1:]
            server = ends.enter_context(Instrument("tests.chaos.observed_server", last))
            load_side = ends.enter_context(Instrument("tests.chaos.open_loop", first))
            target = server.ask("start", settings=self.settings, **how)
            capacity_per_s = capacity_per_s or self.capacity_per_s(target)
            for load in loads:
                found.append(self._level(server, load_side, target, load, capacity_per_s))
                self.plan.say(f"{self.checkpoint}, {found[-1]}")
        return found

    def capacity_per_s(self, target: str) -> float:
        """Texts answered per second when so many calls are always in flight."""
        with Instrument("benchmarks.load", self.plan.cores[:1]) as load_side:
            rates = []
            for texts in (len(self.lengths) // 10, len(self.lengths)):  # the first warms up
                sample = load_side.ask(
                    "run",
                    target=target,
                    shape="unary",
                    lengths=self.lengths[:texts],
                    in_flight=IN_FLIGHT,
                    words=self.checkpoint,
                )
                rates.append(sample["texts"] / sample["seconds"])
        self.plan.say(f"{self.checkpoint}: capacity {rates[-1]:.2f} calls/s")
        return float(rates[-1])

    def _level(
        self,
        server: Instrument,
        load_side: Instrument,
        target: str,
        load: float,
        capacity_per_s: float,
    ) -> Level:
        sample = load_side.ask(
            "run",
            target=target,
            lengths=self.lengths,
            per_s=load * capacity_per_s,
            seconds=WARM_UP_S + self.seconds,
            deadline_s=DEADLINE_S,
            words=self.checkpoint,
        )
        settled = server.ask("settle", timeout_s=SETTLE_S)
        counted_s = sample["began_s"] + WARM_UP_S
        runs = [Run(*fields) for fields in server.ask("runs", since_s=counted_s)]
        calls = [Call(*fields) for fields in sample["calls"]]
        counted = [call for call in calls if call.due_s >= WARM_UP_S]
        return level(load, capacity_per_s, counted, runs, self.seconds, settled)


def run_base(plan: Plan) -> Report:
    """BERT-base, and then again with an engine that is half as fast."""
    shape = BERT_SLICE if plan.is_short else BERT_BASE
    folder = plan.work / shape.name.replace(" ", "-")
    if not folder.exists():
        save(shape, folder)
    lengths = [n for n in mixed().lengths if n <= MOST_TOKENS][:180]
    settings = {"model": [f"m={folder}"]}
    bench = Bench(plan, shape.name, settings, lengths, 6.0 if plan.is_short else 25.0)
    levels = bench.levels(LOADS)
    report = Report()
    add_findings(report, levels)
    last = levels[-1]
    slow = bench.levels((last.load,), capacity_per_s=last.capacity_per_s, is_half_as_fast=True)[0]
    ratio = slow.retry_p50_s / last.retry_p50_s if last.retry_p50_s else 0.0
    report.add(
        "RetryInfo of the same load, with an engine that computes every batch twice",
        f"twice as long ({DOUBLED[0]:g} to {DOUBLED[1]:g} times)",
        f"{digits(ratio)} times: {digits(slow.retry_p50_s)} s after {digits(last.retry_p50_s)} s; "
        f"{digits(slow.tokens_per_s / last.tokens_per_s)} times the tokens/s",
        DOUBLED[0] <= ratio <= DOUBLED[1],
    )
    report.series["levels"] = {shape.name: [asdict(level) for level in levels]}
    return report


def run_embedded(plan: Plan) -> Report:
    """The embedded checkpoint, whose calls cost as much as its texts."""
    lengths = [n for n in mixed().lengths if n <= MOST_TOKENS] * 4
    bench = Bench(plan, "embedded", {}, lengths, 5.0 if plan.is_short else 15.0)
    levels = bench.levels(LOADS)
    reached = list(
        itertools.takewhile(lambda level: level.sent_late_p99_s <= MOST_SENT_LATE_S, levels)
    )
    report = Report()
    report.add(
        f"load up to which calls are sent within {1e3 * MOST_SENT_LATE_S:g} ms",
        "more than capacity",
        f"{reached[-1].load:g}x, {digits(reached[-1].offered_per_s)} calls/s"
        if reached
        else "none",
        len(reached) > 1,
    )
    add_findings(report, reached or levels[:1])
    report.series["levels"] = {"embedded": [asdict(level) for level in levels]}
    return report


OVERLOAD = Trial(
    "overload",
    "BERT-base, float32, plain, server and its worker on one core, load on another; unary calls of "
    f"up to {MOST_TOKENS} tokens with {DEADLINE_S:g} s each, arriving at {LOADS[0]} to {LOADS[-1]} "
    "times the capacity whether or not others have been answered.",
    run_base,
)
OVERLOAD_EMBEDDED = Trial(
    "overload-embedded",
    "The same with the embedded checkpoint, up to the load at which the sender falls behind.",
    run_embedded,
)
