"""Overload: the server answers what it can in time, and rejects the rest."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.checkpoints import BERT_BASE, BERT_SLICE, save
from benchmarks.figures import digits
from benchmarks.instrument import Instrument
from benchmarks.workload import mixed

from .levels import DEADLINE_S, Level, Sample, add_findings, goodput, level
from .observed_server import Run
from .open_loop import Call
from .trial import Plan, Report, Trial

LOADS = (1, 2, 5, 10)
"""Multiples of the capacity."""
MOST_TOKENS = 150
"""Longest text of the load, which keeps the workload's sentences and whole reviews. A text of
500 tokens takes BERT-base about a second of one core: no queue, order or admission could answer
it in time.
"""
IN_FLIGHT = 16
"""In the closed loop that measures capacity: enough for full batches."""
WARM_UP_S = 3.0
"""Calls of the first seconds do not count: the queue fills, and the drain rate settles."""
SETTLE_S = 5.0
DOUBLED = (1.7, 2.5)
"""Range that counts as doubled. With half the goodput, the server rejects slightly more than
half.
"""
MOST_SENT_LATE_S = 0.05
"""The sender keeps up while it sends 99 % of calls within this time of being due."""


@dataclass(frozen=True)
class Subject:
    """A server under load, its name and its target."""

    name: str
    server: Instrument
    target: str


@dataclass(frozen=True)
class Bench:
    """Servers on one core and the load on another. For use by one thread."""

    plan: Plan
    load_side: Instrument
    words: str
    lengths: Sequence[int]
    seconds: float

    def capacity_per_s(self, target: str) -> float:
        """Return the answers per second of a closed loop with IN_FLIGHT calls."""
        with Instrument("benchmarks.load", self.plan.cores[:1]) as load_side:
            rates = []
            for texts in (len(self.lengths) // 10, len(self.lengths)):  # the first warms up
                sample = load_side.ask(
                    "run",
                    target=target,
                    shape="unary",
                    lengths=self.lengths[:texts],
                    in_flight=IN_FLIGHT,
                    words=self.words,
                )
                rates.append(sample["texts"] / sample["seconds"])
        self.plan.say(f"{self.words}: capacity {rates[-1]:.2f} calls/s")
        return float(rates[-1])

    def sample(self, subject: Subject, load: float, capacity_per_s: float, turn: int) -> Sample:
        """Put a load on a server; each turn has arrivals of its own."""
        sample = self.load_side.ask(
            "run",
            target=subject.target,
            lengths=self.lengths,
            per_s=load * capacity_per_s,
            seconds=WARM_UP_S + self.seconds,
            deadline_s=DEADLINE_S,
            words=self.words,
            seed=turn,
        )
        settled = subject.server.ask("settle", timeout_s=SETTLE_S)
        counted_s = sample["began_s"] + WARM_UP_S
        runs = [Run(*fields) for fields in subject.server.ask("runs", since_s=counted_s)]
        calls = [Call(*fields) for fields in sample["calls"]]
        counted = [call for call in calls if call.due_s >= WARM_UP_S]
        found = Sample(counted, runs, settled)
        self.plan.say(f"{subject.name}, {level(load, capacity_per_s, [found], self.seconds)}")
        return found


@dataclass(frozen=True)
class Ladder:
    """Samples of each load, the least load first.

    Loads take turns, since the machine's speed changes from minute to minute.
    """

    capacity_per_s: float
    sample_s: float
    samples: dict[float, list[Sample]] = field(default_factory=dict)

    def add(self, load: float, sample: Sample) -> None:
        """Add one turn's sample of a load."""
        self.samples.setdefault(load, []).append(sample)

    def levels(self) -> list[Level]:
        """Return the level of each load, over all turns."""
        return [
            level(load, self.capacity_per_s, samples, self.sample_s)
            for load, samples in sorted(self.samples.items())
        ]

    def shares(self, load: float) -> list[float]:
        """Return a load's answers in time, divided by those of the first load, for each turn."""
        return [
            goodput(
                level(load, self.capacity_per_s, [sample], self.sample_s),
                level(LOADS[0], self.capacity_per_s, [first], self.sample_s),
            )
            for sample, first in zip(self.samples[load], self.samples[LOADS[0]], strict=True)
        ]


def in_turn(turn: int) -> Sequence[float]:
    """Return the loads in the order of a turn: up or down in alternation, so that a steady
    change of the machine's speed favours no load.
    """
    return LOADS[:: -1 if turn % 2 else 1]


@contextmanager
def serving(
    plan: Plan, name: str, settings: dict[str, Any], *, is_half_as_fast: bool = False
) -> Iterator[Subject]:
    """Run a server that shares its core with its model's worker, and with other subjects."""
    with Instrument("tests.chaos.observed_server", plan.cores[-1:]) as server:
        target = server.ask("start", settings=settings, is_half_as_fast=is_half_as_fast)
        yield Subject(name, server, target)


@contextmanager
def bench_of(plan: Plan, words: str, lengths: Sequence[int], seconds: float) -> Iterator[Bench]:
    """Make a bench for texts of these lengths."""
    with Instrument("tests.chaos.open_loop", plan.cores[:1]) as load_side:
        yield Bench(plan, load_side, words, lengths, seconds)


def run_base(plan: Plan) -> Report:
    """Overload BERT-base, in turns with a server whose engine is half as fast."""
    shape = BERT_SLICE if plan.is_short else BERT_BASE
    folder = plan.work / shape.name.replace(" ", "-")
    if not folder.exists():
        save(shape, folder)
    lengths = [n for n in mixed().lengths if n <= MOST_TOKENS][:180]
    settings = {"model": [f"m={folder}"]}
    turns, seconds = (1, 6.0) if plan.is_short else (7, 10.0)
    with (
        bench_of(plan, shape.name, lengths, seconds) as bench,
        serving(plan, shape.name, settings) as subject,
        serving(
            plan, f"{shape.name}, batches computed twice", settings, is_half_as_fast=True
        ) as slow_subject,
    ):
        capacity_per_s = bench.capacity_per_s(subject.target)
        found = Ladder(capacity_per_s, seconds)
        slowed = Ladder(capacity_per_s, seconds)
        for turn in range(turns):
            for load in in_turn(turn):
                found.add(load, bench.sample(subject, load, capacity_per_s, turn))
            slowed.add(LOADS[-1], bench.sample(slow_subject, LOADS[-1], capacity_per_s, turn))
    report = Report()
    add_findings(report, found.levels(), found.shares(LOADS[-1]))
    last, slow = found.levels()[-1], slowed.levels()[-1]
    ratio = slow.retry_p50_s / last.retry_p50_s if last.retry_p50_s else 0.0
    report.add(
        "RetryInfo at the same load, with an engine that computes every batch twice",
        f"{DOUBLED[0]:g} to {DOUBLED[1]:g} times as long",
        f"{digits(ratio)} times: {digits(slow.retry_p50_s)} s after {digits(last.retry_p50_s)} s; "
        f"{digits(slow.tokens_per_s / last.tokens_per_s)} times the tokens/s",
        DOUBLED[0] <= ratio <= DOUBLED[1],
    )
    report.series["levels"] = {shape.name: [asdict(level) for level in found.levels()]}
    return report


def run_embedded(plan: Plan) -> Report:
    """Overload the embedded checkpoint, whose calls cost as much as its texts."""
    lengths = [n for n in mixed().lengths if n <= MOST_TOKENS] * 4
    turns, seconds = (1, 5.0) if plan.is_short else (7, 6.0)
    with (
        bench_of(plan, "embedded", lengths, seconds) as bench,
        serving(plan, "embedded", {}) as subject,
    ):
        capacity_per_s = bench.capacity_per_s(subject.target)
        found = Ladder(capacity_per_s, seconds)
        for turn in range(turns):
            for load in in_turn(turn):
                found.add(load, bench.sample(subject, load, capacity_per_s, turn))
    levels = found.levels()
    reached = list(
        itertools.takewhile(lambda level: level.sent_late_p99_s <= MOST_SENT_LATE_S, levels)
    )
    report = Report()
    report.add(
        f"highest load that the sender sends within {1e3 * MOST_SENT_LATE_S:g} ms",
        "more than capacity",
        f"{reached[-1].load:g}x, {digits(reached[-1].offered_per_s)} calls/s"
        if reached
        else "none",
        len(reached) > 1,
    )
    last = (reached or levels[:1])[-1]
    add_findings(report, reached or levels[:1], found.shares(last.load))
    report.series["levels"] = {"embedded": [asdict(level) for level in levels]}
    return report


OVERLOAD = Trial(
    "overload",
    "BERT-base, float32, plain. Server and worker share one core, and the load has another. Unary "
    f"calls of up to {MOST_TOKENS} tokens, with a deadline of {DEADLINE_S:g} s each, arrive at "
    f"{LOADS[0]} to {LOADS[-1]} times the capacity, in turns, in an open loop.",
    run_base,
)
OVERLOAD_EMBEDDED = Trial(
    "overload-embedded",
    "The same with the embedded checkpoint, up to the load at which the sender falls behind.",
    run_embedded,
)
