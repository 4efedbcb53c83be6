"""Figures of the calls of one load, and their verdicts. Pure."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.figures import digits, quantile

from .observed_server import Run
from .open_loop import ANSWERED, HANGS, Call
from .trial import Report

DEADLINE_S = 1.0
LEAST_GOODPUT = 0.9
LEAST_OF_A_TURN = 0.5
"""A slow phase of the machine costs a turn some answers; below this share the server collapsed."""
MOST_REJECTION_S = 0.05
REJECTED = "RESOURCE_EXHAUSTED OVERLOADED"
EXPIRED = ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED EXPIRED_IN_QUEUE")


@dataclass(frozen=True)
class Sample:
    """One load in one turn: the calls that were due, the texts that ran, and whether the server
    became idle afterwards.
    """

    calls: Sequence[Call]
    runs: Sequence[Run]
    settled: bool


@dataclass(frozen=True)
class Level:
    """Figures of the calls of one load, which is a multiple of the capacity."""

    load: float
    capacity_per_s: float
    offered_per_s: float
    answers_per_s: float
    tokens_per_s: float
    p50_s: float
    p99_s: float
    outcomes: dict[str, int]
    rejection_p50_s: float
    rejections_without_retry: int
    retry_p50_s: float
    sent_late_p99_s: float
    runs: int
    expired_run: int
    late_run: int
    busy: float
    settled: bool

    @property
    def hung(self) -> int:
        """Calls without an outcome."""
        return self.outcomes.get(HANGS, 0)

    @property
    def unforeseen(self) -> dict[str, int]:
        """Outcomes that no call may have."""
        known = {ANSWERED, HANGS, REJECTED, *EXPIRED}
        return {outcome: n for outcome, n in self.outcomes.items() if outcome not in known}

    def __str__(self) -> str:
        ended = ", ".join(f"{n} {outcome}" for outcome, n in sorted(self.outcomes.items()))
        return (
            f"{self.load:g}x: {self.offered_per_s:.1f} calls/s offered, {self.answers_per_s:.2f} "
            f"answered in time, {self.tokens_per_s:.0f} tokens/s, p50 {1e3 * self.p50_s:.0f} ms, "
            f"p99 {1e3 * self.p99_s:.0f} ms; {ended}; rejected in {1e3 * self.rejection_p50_s:.1f} "
            f"ms, to come back in {self.retry_p50_s:.2f} s; expired {self.expired_run} and late "
            f"{self.late_run} of {self.runs} texts run; engine busy {self.busy:.2f}; "
            f"sent {1e3 * self.sent_late_p99_s:.0f} ms late"
        )


def level(load: float, capacity_per_s: float, samples: Sequence[Sample], sample_s: float) -> Level:
    """Return the figures of one load from its samples, of `sample_s` seconds each."""
    calls = [call for sample in samples for call in sample.calls]
    runs = [run for sample in samples for run in sample.runs]
    seconds = sample_s * len(samples)
    answered = [c for c in calls if c.outcome == ANSWERED and c.took_s <= DEADLINE_S]
    rejected = [call for call in calls if call.outcome == REJECTED]
    retries_s = [call.retry_after_s for call in rejected if call.retry_after_s is not None]
    return Level(
        load,
        capacity_per_s,
        len(calls) / seconds,
        len(answered) / seconds,
        sum(call.tokens for call in answered) / seconds,
        quantile([call.took_s for call in answered] or [0.0], 0.5),
        quantile([call.took_s for call in answered] or [0.0], 0.99),
        dict(Counter(call.outcome for call in calls)),
        quantile([call.took_s for call in rejected] or [0.0], 0.5),
        len(rejected) - len(retries_s),
        quantile(retries_s or [0.0], 0.5),
        quantile([call.sent_s - call.due_s for call in calls] or [0.0], 0.99),
        sum(run.texts for run in runs),
        sum(run.expired for run in runs),
        sum(run.late for run in runs),
        sum(run.ended_s - run.began_s for run in runs) / seconds,
        all(sample.settled for sample in samples),
    )


def goodput(last: Level, first: Level) -> float:
    """Return the answers in time at one load, divided by those at another."""
    return last.answers_per_s / first.answers_per_s if first.answers_per_s else 0.0


def add_findings(report: Report, levels: Sequence[Level], shares: Sequence[float]) -> None:
    """Add the findings: the last load against the first, and rules for all loads.

    `shares` are the ratios of the turns. Their median decides, since a slow phase of the machine
    in one turn is not the server's fault.
    """
    first, last = levels[0], levels[-1]
    share = statistics.median(shares)
    report.add(
        f"answers in time per second, {last.load:g}x ÷ {first.load:g}x, median of turns",
        f"at least {LEAST_GOODPUT}",
        f"{digits(share)} (in turn {', '.join(digits(one) for one in shares)}; of all together "
        f"{digits(goodput(last, first))}): {digits(last.answers_per_s)} and "
        f"{digits(first.answers_per_s)} of the {digits(last.offered_per_s)} and "
        f"{digits(first.offered_per_s)} calls/s that came; in tokens/s "
        f"{digits(last.tokens_per_s)} and {digits(first.tokens_per_s)}",
        share >= LEAST_GOODPUT,
    )
    poor = sum(share < LEAST_OF_A_TURN for share in shares)
    report.add(f"turns in which this ratio is below {LEAST_OF_A_TURN:g}", "0", poor, not poor)
    rejecting = [level for level in levels if level.outcomes.get(REJECTED)]
    worst_s = max((level.rejection_p50_s for level in rejecting), default=0.0)
    report.add(
        "median time to a rejection, at the worst load",
        f"within {1e3 * MOST_REJECTION_S:g} ms",
        f"{digits(1e3 * worst_s)} ms",
        bool(rejecting) and worst_s <= MOST_REJECTION_S,
    )
    without = sum(level.rejections_without_retry for level in levels)
    rejections = sum(level.outcomes.get(REJECTED, 0) for level in levels)
    report.add("rejections without RetryInfo", "0", f"{without} of {rejections}", not without)
    expired = sum(level.expired_run for level in levels)
    report.add(
        "texts run after their deadline",
        "0",
        f"{expired} of {sum(level.runs for level in levels)}",
        not expired,
    )
    hung = sum(level.hung for level in levels)
    unforeseen = sum((Counter(level.unforeseen) for level in levels), Counter[str]())
    report.add(
        "calls without an outcome; loads after which the server stayed busy",
        "0; 0",
        f"{hung}; {sum(not level.settled for level in levels)}",
        not hung and all(level.settled for level in levels),
    )
    report.add(
        "calls neither answered, rejected nor expired",
        "0",
        ", ".join(f"{n} {outcome}" for outcome, n in unforeseen.items()) or 0,
        not unforeseen,
    )
