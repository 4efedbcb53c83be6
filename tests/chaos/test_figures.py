"""Figures of load trials: rates, shares, verdicts and the chart. Pure."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import machine
from tests.chaos import charts, publication
from tests.chaos.fairness import shares
from tests.chaos.levels import REJECTED, Level, Sample, add_findings, goodput, level
from tests.chaos.observed_server import Run
from tests.chaos.open_loop import ANSWERED, HANGS, Call, arrivals_s
from tests.chaos.overload import Ladder, in_turn
from tests.chaos.traffic import tokens_per_s
from tests.chaos.trial import Report


def call(outcome: str, took_s: float, retry_after_s: float | None = None) -> Call:
    """Return a call of ten tokens, sent when it was due."""
    return Call(1.0, 1.0, took_s, 10, outcome, retry_after_s)


def measured(load: float, *calls: Call, expired: int = 0, settled: bool = True) -> Level:
    """Return a level of two seconds, at a capacity of one call per second."""
    run = Run(0.0, 1.0, 4, 40, expired, 0)
    return level(load, 1.0, [Sample(calls, [run], settled)], 2.0)


def verdicts(first: Level, last: Level) -> list[bool]:
    """Return whether each finding is met, for one turn."""
    report = Report()
    add_findings(report, [first, last], [goodput(last, first)])
    return [finding.is_met for finding in report.findings]


def test_arrivals_are_those_of_their_seed() -> None:
    """The same seed gives the same arrivals, in order, at about the requested rate, up to the
    end.
    """
    instants = list(arrivals_s(100.0, 50.0, seed=1))
    assert instants == list(arrivals_s(100.0, 50.0, seed=1))
    assert instants != list(arrivals_s(100.0, 50.0, seed=2))
    assert instants == sorted(instants)
    assert instants[-1] < 50.0
    assert len(instants) == pytest.approx(5_000, rel=0.05)


def test_an_answer_after_the_deadline_is_none() -> None:
    """An answer after the deadline does not count."""
    found = measured(1, call(ANSWERED, 0.5), call(ANSWERED, 1.5))
    assert (found.answers_per_s, found.tokens_per_s, found.offered_per_s) == (0.5, 5.0, 1.0)


def test_turns_are_one_level_together_and_compared_one_by_one() -> None:
    """A level has all calls and runs of a load, over the time of all turns; shares are one a
    turn.
    """
    answered = call(ANSWERED, 0.5)
    ladder = Ladder(1.0, 2.0)
    for answers in (2, 4):
        ladder.add(10, Sample([answered] * 2, [Run(0.0, 2.0, 2, 20, 1, 0)], answers == 2))
        ladder.add(1, Sample([answered] * answers, [Run(0.0, 1.0, answers, 40, 0, 0)], True))
    first, last = ladder.levels()
    assert (first.load, first.answers_per_s, first.runs, first.busy) == (1, 1.5, 6, 0.5)
    assert (last.load, last.answers_per_s, last.expired_run, last.settled) == (10, 1.0, 2, False)
    assert ladder.shares(10) == [1.0, 0.5]


def test_overload_with_early_rejections_is_met() -> None:
    """With capacity's answers, and early rejections with a retry time, all findings are met."""
    first = measured(1, call(ANSWERED, 0.5), call(ANSWERED, 0.5))
    rejected = call(REJECTED, 0.001, retry_after_s=2.0)
    last = measured(10, call(ANSWERED, 0.5), call(ANSWERED, 0.5), rejected)
    assert all(verdicts(first, last))


@pytest.mark.parametrize(
    ("last", "failed"),
    [
        (measured(10, call(ANSWERED, 0.5), call(REJECTED, 0.001, 1.0)), [0]),
        (measured(10, *[call(ANSWERED, 0.5)] * 2, call(REJECTED, 0.2, 1.0)), [2]),
        (measured(10, *[call(ANSWERED, 0.5)] * 2, call(REJECTED, 0.001)), [3]),
        (measured(10, *[call(ANSWERED, 0.5)] * 2, call(REJECTED, 0.001, 1.0), expired=1), [4]),
        (measured(10, *[call(ANSWERED, 0.5)] * 2, call(REJECTED, 0.0, 1.0), call(HANGS, 11)), [5]),
        (measured(10, *[call(ANSWERED, 0.5)] * 2, call(REJECTED, 0.0, 1.0), settled=False), [5]),
        (
            measured(10, *[call(ANSWERED, 0.5)] * 2, call(REJECTED, 0.0, 1.0), call("UNKNOWN", 0)),
            [6],
        ),
    ],
    ids=["fewer", "late rejection", "no RetryInfo", "expired", "hangs", "no rest", "unforeseen"],
)
def test_each_fault_fails_its_own_finding(last: Level, failed: list[int]) -> None:
    """Each fault fails exactly its own finding."""
    first = measured(1, call(ANSWERED, 0.5), call(ANSWERED, 0.5))
    met = verdicts(first, last)
    assert [place for place, is_met in enumerate(met) if not is_met] == failed


@pytest.mark.parametrize(
    ("shares", "met"),
    [
        ([0.95, 0.6, 0.95], [True, True]),
        ([0.85, 2.0, 0.85], [False, True]),
        ([0.8, 0.9, 1.0], [True, True]),
        ([0.95, 0.4, 0.95], [True, False]),
    ],
)
def test_the_median_of_turns_decides(shares: list[float], met: list[bool]) -> None:
    """The median of turns decides, not one slow or fast turn; a turn with hardly an answer fails
    a finding of its own.
    """
    rejected = call(REJECTED, 0.001, retry_after_s=2.0)
    levels = measured(1, call(ANSWERED, 0.5)), measured(10, call(ANSWERED, 0.5), rejected)
    report = Report()
    add_findings(report, levels, shares)
    assert [finding.is_met for finding in report.findings[:2]] == met


def test_loads_go_up_and_down() -> None:
    """Loads go up and down in alternation, so that a steady slow-down favours none."""
    assert [[*in_turn(turn)] for turn in range(3)] == [[1, 2, 5, 10], [10, 5, 2, 1], [1, 2, 5, 10]]


def test_a_run_counts_by_its_share_of_the_time() -> None:
    """A run counts by its share of the time: tokens are divided at both ends."""
    runs = [
        Run(began, ended, 1, 100, 0, 0)
        for began, ended in ((-1.0, 1.0), (2.0, 3.0), (9.0, 13.0), (20.0, 21.0))
    ]
    assert tokens_per_s(runs, 0.0, 10.0) == pytest.approx((50 + 100 + 25) / 10)


def test_shares_are_of_an_even_one() -> None:
    """A share is a stream's tokens within the time, divided by the mean of all streams."""
    answers = [[(0.5, 99, 0), (1.0, 10, 0), (2.0, 20, 0)], [(1.5, 10, 0), (3.0, 99, 0)]]
    assert shares(answers, 1.0, 3.0) == [1.5, 0.5]


def test_the_chart_is_the_same_every_time(tmp_path: Path) -> None:
    """The chart is drawn from the levels of any trial that has some, byte for byte the same."""
    levels = [asdict(measured(load, call(ANSWERED, 0.5))) for load in (1, 10)]
    records: dict[str, Any] = {
        "overload": {"series": {"levels": {"bert": levels}}},
        "storm": {"series": {}},
    }
    first, again = (charts.draw(records, tmp_path / name)[0] for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert charts.draw({"storm": {"series": {}}}, tmp_path) == []


def test_what_trials_found_replaces_what_the_page_said_of_them(tmp_path: Path) -> None:
    """Findings replace their trials' sections, in order, and keep the others.

    The chart is drawn again when the file holds both of its trials.
    """
    page = publication.PAGE.read_text(encoding="utf-8")
    assert publication.published(page, {}, tmp_path) == page
    levels = [asdict(measured(load, call(ANSWERED, 0.5))) for load in (1, 10)]
    record = {
        "about": "About it.",
        "plan": "full",
        "taken_at": "2026-01-01",
        "machine": machine(),
        "seconds": 1,
        "findings": [{"what": "this", "asked": "1", "found": "2", "is_met": False}],
        "series": {"levels": {"bert": levels}},
    }

    for names in (("storm", "overload"), ("overload", "overload-embedded")):
        found = publication.published(page, dict.fromkeys(names, record), tmp_path)
        assert found.count("| this | 1 | 2 | **not met** |") == len(names)
        assert re.findall("^### .*|^!.*", found, re.M) == re.findall("^### .*|^!.*", page, re.M)
        assert found.partition("### fuzz")[2].split("###")[0] in page
        assert bool(list(tmp_path.iterdir())) == ("overload-embedded" in names)

    with pytest.raises(ValueError, match="does not have"):
        publication.published("", {}, tmp_path)
