"""Interactive calls during a stream that keeps the engine busy."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.checkpoints import BERT_BASE, BERT_SLICE, save
from benchmarks.figures import digits, quantile
from benchmarks.instrument import Instrument
from benchmarks.workload import mixed

from .observed_server import Run
from .open_loop import ANSWERED, Call
from .trial import Plan, Report, Trial

CALL_TOKENS, CALLS_PER_S, CALL_TIMEOUT_S = 16, 5.0, 10.0
UNANSWERED = 64
"""Texts of the stream that wait at any time: seconds of work."""
SHORT_BULK_TOKENS = 64
MOST_TIMES_IDLE = 3.0
LEAST_TOGETHER = 0.9
WARM_UP_S = 3.0
"""Start of each phase that does not count."""
LONGEST_RUN_S = 2.0
"""Runs that go on at the end of the counting end within this time, which makes their share
known.
"""


@dataclass
class Phases:
    """Figures of the rounds of one server."""

    idle: list[Call] = field(default_factory=list)
    during: list[Call] = field(default_factory=list)
    alone_tokens_per_s: list[float] = field(default_factory=list)
    together_tokens_per_s: list[float] = field(default_factory=list)

    @property
    def times_idle(self) -> float:
        """The p99 of calls during the stream, divided by that on an idle server."""
        return p99_s(self.during) / p99_s(self.idle)

    @property
    def together(self) -> float:
        """Tokens per second of calls and stream, divided by those of the stream alone."""
        return sum(self.together_tokens_per_s) / sum(self.alone_tokens_per_s)


def p99_s(calls: Sequence[Call]) -> float:
    """Return the p99 of answered calls, in seconds."""
    return quantile([call.took_s for call in calls if call.outcome == ANSWERED], 0.99)


def tokens_per_s(runs: Sequence[Run], since_s: float, until_s: float) -> float:
    """Return the tokens per second within a time; a run across its ends counts by its share."""
    tokens = 0.0
    for run in runs:
        within_s = min(run.ended_s, until_s) - max(run.began_s, since_s)
        tokens += run.tokens * max(0.0, within_s) / (run.ended_s - run.began_s)
    return tokens / (until_s - since_s)


@dataclass(frozen=True)
class Bench:
    """A server whose worker has one core, and the load another. For use by one thread."""

    plan: Plan
    server: Instrument
    load_side: Instrument
    target: str
    seconds: float

    def phases(self, bulk_lengths: Sequence[int], rounds: int) -> Phases:
        """Run calls on an idle server, the stream alone, and both, in turns."""
        found = Phases()
        for turn in range(rounds):
            found.idle += self._calls(turn)[0]
            with self._stream(bulk_lengths):
                began_s = time.monotonic() + WARM_UP_S
                time.sleep(WARM_UP_S + self.seconds)
                found.alone_tokens_per_s.append(self._tokens_per_s(began_s))
                calls, began_s = self._calls(turn)
                found.during += calls
                found.together_tokens_per_s.append(self._tokens_per_s(began_s))
            self.plan.say(
                f"round {turn + 1} of {rounds}: p99 {1e3 * p99_s(found.idle):.0f} ms idle, "
                f"{1e3 * p99_s(found.during):.0f} ms during the stream; "
                f"{found.alone_tokens_per_s[-1]:.0f} tokens/s alone, "
                f"{found.together_tokens_per_s[-1]:.0f} together"
            )
        return found

    def _calls(self, turn: int) -> tuple[list[Call], float]:
        """Return the calls, with the same arrivals in each phase of a round, and the start of
        the counting.
        """
        sample = self.load_side.ask(
            "run",
            target=self.target,
            lengths=[CALL_TOKENS],
            per_s=CALLS_PER_S,
            seconds=WARM_UP_S + self.seconds,
            deadline_s=CALL_TIMEOUT_S,
            seed=turn,
        )
        calls = [Call(*fields) for fields in sample["calls"]]
        counted = [call for call in calls if call.due_s >= WARM_UP_S]
        return counted, sample["began_s"] + WARM_UP_S

    def _tokens_per_s(self, began_s: float) -> float:
        time.sleep(max(0.0, began_s + self.seconds + LONGEST_RUN_S - time.monotonic()))
        runs = [Run(*fields) for fields in self.server.ask("runs", since_s=began_s)]
        return tokens_per_s(runs, began_s, began_s + self.seconds)

    @contextmanager
    def _stream(self, lengths: Sequence[int]) -> Iterator[None]:
        with Instrument("tests.chaos.full_streams", self.plan.cores[:1]) as streams:
            streams.ask("begin", target=self.target, lengths=lengths, unanswered=[UNANSWERED])
            yield
            streams.ask("end")


def run(plan: Plan) -> Report:
    """Run the mixed workload as bulk work, and short texts for comparison."""
    shape = BERT_SLICE if plan.is_short else BERT_BASE
    folder = plan.work / shape.name.replace(" ", "-")
    if not folder.exists():
        save(shape, folder)
    report = Report()
    first, last = plan.cores[:1], plan.cores[-1:]
    with (
        Instrument("tests.chaos.observed_server", last) as server,
        Instrument("tests.chaos.open_loop", first) as load_side,
    ):
        target = server.ask("start", settings={"model": [f"m={folder}"]})
        bench = Bench(plan, server, load_side, target, 6.0 if plan.is_short else 15.0)
        rounds = 1 if plan.is_short else 5
        _add_findings(report, "mixed lengths", bench.phases(mixed().lengths, rounds))
        short = bench.phases([SHORT_BULK_TOKENS], rounds)
        _add_findings(report, f"{SHORT_BULK_TOKENS} tokens", short)
    return report


def _add_findings(report: Report, bulk: str, found: Phases) -> None:
    calls = found.idle + found.during
    report.add(
        f"p99 of calls next to a stream of {bulk} ÷ p99 on the idle server",
        f"at most {MOST_TIMES_IDLE:g}",
        f"{digits(found.times_idle)}: {digits(1e3 * p99_s(found.during))} and "
        f"{digits(1e3 * p99_s(found.idle))} ms, of {len(found.during)} calls each",
        found.times_idle <= MOST_TIMES_IDLE,
    )
    report.add(
        f"tokens/s of both together ÷ those of a stream of {bulk} alone",
        f"at least {LEAST_TOGETHER}",
        f"{digits(found.together)}: "
        + ", ".join(
            f"{together:.0f} of {alone:.0f}"
            for together, alone in zip(
                found.together_tokens_per_s, found.alone_tokens_per_s, strict=True
            )
        ),
        found.together >= LEAST_TOGETHER,
    )
    failed = sum(call.outcome != ANSWERED for call in calls)
    report.add(f"unanswered calls, before and next to a stream of {bulk}", "0", failed, not failed)


TRAFFIC = Trial(
    "traffic",
    "BERT-base, float32, plain. Server and worker share one core, and the load has another. Unary "
    f"calls of {CALL_TOKENS} tokens, {CALLS_PER_S:g} a second on average (a Poisson process), run "
    f"on an idle server and next to a stream with {UNANSWERED} unanswered texts, in turns.",
    run,
)
