"""Overload of several checkouts in turns, so that changes of the machine's speed affect all
alike.

    python -m tests.chaos.compare CHECKOUT [CHECKOUT ...] [--turns 10] [--model embedded|slice|base]

The servers of all checkouts run on the last core, and only one of them has load at a time. Each
uses the sources of its checkout and the packages of this environment. A turn puts one, five and
ten times the capacity on each (9 s each), and stops it once at five times (22 s). Each turn
starts new servers, since a server's measurements at its start affect much.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.checkpoints import BERT_BASE, BERT_SLICE, save
from benchmarks.figures import digits, figure
from benchmarks.instrument import ONE_THREAD, Instrument
from benchmarks.workload import mixed
from classwire_server.observability.metrics.workers import Usage

from .levels import DEADLINE_S, EXPIRED, level
from .open_loop import Call
from .overload import MOST_TOKENS, SETTLE_S, WARM_UP_S, Bench, Subject, bench_of
from .standstill import CATCHES_UP_S, LEAST_SHARE, Standstill, answers_per_s
from .trial import Plan

SECONDS = 5.0
STANDS_AFTER_S, STANDSTILL_SECONDS = 10.0, 18.0
LOADS = (1, 5, 10)
SHAPES = {"slice": BERT_SLICE, "base": BERT_BASE}
Samples = dict[str, dict[str, list[float]]]
"""Figures by name and checkout, one a turn."""


@contextmanager
def serving(checkout: Path, plan: Plan, models: list[str]) -> Iterator[Subject]:
    """Run a server of a checkout."""
    paths = os.pathsep.join(str(checkout / part) for part in ("client", "server"))
    environment = {**ONE_THREAD, "PYTHONPATH": paths}
    with contextlib.chdir(checkout):
        server = Instrument("tests.chaos.observed_server", plan.cores[-1:], environment)
    with server:
        target = server.ask("start", settings={"model": models})
        yield Subject(str(checkout), server, target)


def stand_still(bench: Bench, subject: Subject, capacity_per_s: float) -> dict[str, float]:
    """Return the answers per second before and after a standstill at five times the capacity."""
    standstill = Standstill(subject.server.pid, STANDS_AFTER_S)
    standstill.start()
    sample = bench.load_side.ask(
        "run",
        target=subject.target,
        lengths=bench.lengths,
        per_s=5 * capacity_per_s,
        seconds=STANDSTILL_SECONDS,
        deadline_s=DEADLINE_S,
        words=bench.words,
    )
    standstill.join()
    subject.server.ask("settle", timeout_s=SETTLE_S)
    calls = [Call(*fields) for fields in sample["calls"]]
    began_s = standstill.began_s - sample["began_s"]
    ended_s = standstill.ended_s - sample["began_s"]
    before = answers_per_s(calls, 1.0, began_s - DEADLINE_S)
    after = answers_per_s(calls, ended_s + CATCHES_UP_S, STANDSTILL_SECONDS)
    return {
        "standstill: answers/s before": before,
        "standstill: answers/s after": after,
        "standstill: recovered": float(0 < LEAST_SHARE * before <= after),
    }


def cpu_s(subject: Subject) -> float:
    """Return the server's CPU time, without its worker's."""
    usage = Usage.of(subject.server.pid)
    return usage.cpu_s if usage is not None else 0.0


def calls_of(load: float, capacity_per_s: float) -> float:
    """Return the number of calls in a sample, with those of the warm-up."""
    return load * capacity_per_s * (WARM_UP_S + SECONDS)


def turn_of(bench: Bench, subjects: list[Subject], capacity_per_s: float, turn: int) -> Samples:
    """Return the figures of one turn."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    first: dict[str, float] = {}
    for load in LOADS:
        for subject in subjects:
            before_s = cpu_s(subject)
            sample = bench.sample(subject, load, capacity_per_s, turn)
            took_s = cpu_s(subject) - before_s
            found = level(load, capacity_per_s, [sample], SECONDS)
            at_capacity = first.setdefault(subject.name, found.answers_per_s or 1e-9)
            for name, value in {
                "answers/s": found.answers_per_s,
                "answers of those at 1x": found.answers_per_s / at_capacity,
                "median rejection, ms": 1e3 * found.rejection_p50_s,
                "expired": sum(n for end, n in found.outcomes.items() if end in EXPIRED),
                "server's processor time, us a call": 1e6 * took_s / calls_of(load, capacity_per_s),
                "hung": found.hung,
                "RetryInfo, median, s": found.retry_p50_s,
            }.items():
                samples[f"{load:g}x: {name}"][subject.name].append(value)
    for subject in subjects:
        for name, value in stand_still(bench, subject, capacity_per_s).items():
            samples[name][subject.name].append(value)
    return samples


def show(samples: Samples) -> None:
    """Print the median, the range and the turns of each figure."""
    for name, by_checkout in samples.items():
        print(name)
        for checkout, values in by_checkout.items():
            print(f"  {checkout}: {figure(values)}; in turn {', '.join(map(digits, values))}")
    print(flush=True)


def main() -> None:
    """Run the turns, and print all figures after each."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m tests.chaos.compare"
    )
    parser.add_argument("checkouts", nargs="+", type=Path, metavar="CHECKOUT")
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--capacity-per-s", type=float, help="calls/s at 1x; else measured")
    parser.add_argument("--model", choices=("embedded", *SHAPES), default="embedded")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    samples: Samples = defaultdict(lambda: defaultdict(list))
    with ExitStack() as ends:
        work = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        cores = sorted(os.sched_getaffinity(0))
        plan = Plan(True, work, cores, lambda line: print(line, flush=True))
        lengths = [n for n in mixed().lengths if n <= MOST_TOKENS] * 4
        words, models = "embedded", list[str]()
        if (shape := SHAPES.get(arguments.model)) is not None:
            save(shape, work / "model")
            lengths, words, models = lengths[:180], shape.name, [f"m={work / 'model'}"]
        bench = ends.enter_context(bench_of(plan, words, lengths, SECONDS))
        capacity_per_s = arguments.capacity_per_s
        for turn in range(arguments.turns):
            with ExitStack() as servers:
                subjects = [
                    servers.enter_context(serving(checkout.resolve(), plan, models))
                    for checkout in arguments.checkouts[:: -1 if turn % 2 else 1]
                ]
                capacity_per_s = capacity_per_s or bench.capacity_per_s(subjects[0].target)
                found = turn_of(bench, subjects, capacity_per_s, turn)
            for name, by_checkout in found.items():
                for checkout, values in by_checkout.items():
                    samples[name][checkout] += values
            print(f"turn {turn + 1}, {time.monotonic() - began_s:.0f} s, load {os.getloadavg()}")
            show(samples)


if __name__ == "__main__":
    main()
