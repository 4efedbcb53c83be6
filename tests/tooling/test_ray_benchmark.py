"""The benchmark of Ray Data next to a server: its figures and its page."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import publication
from benchmarks.ray import tables
from benchmarks.ray.figures import ScoredBatch, share, tokens_per_s
from benchmarks.targets import RAY_TARGETS, measured

RECORDED = Path(__file__).with_name("recorded_benchmark.json")


@pytest.fixture
def result() -> dict[str, Any]:
    """Return a result with round figures, in the form that a run writes."""
    recorded: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    taken = {"checkpoint": "bert-base", "cores": [0, 1], "texts": 400}
    recorded["ray"] = {**taken, "server": [1_000.0, 2_000.0], "job": [950.0, 1_700.0]}
    return recorded


def test_the_rate_is_that_of_actors_at_work() -> None:
    """What an actor does before another starts, or after another's end, does not change the rate;
    a pause between two of its batches does.
    """
    times_s = ((0.0, 1.5), (2.0, 3.0), (3.0, 4.0), (4.0, 4.5))
    first = [ScoredBatch(1, began_s, done_s, 100) for began_s, done_s in times_s]
    second = [ScoredBatch(2, 1.5, 2.0, 100), ScoredBatch(2, 2.5, 4.0, 100)]
    # From 1.5 s to 4.0 s: the first actor has 200 tokens in 2 s, the second 200 in 2.5 s.
    assert tokens_per_s([*first, *second]) == pytest.approx(100 + 80)
    assert tokens_per_s(reversed([*first, *second])) == pytest.approx(100 + 80)


def test_too_few_batches_have_no_rate() -> None:
    """Actors that worked one after the other have no time in common, which is an error."""
    with pytest.raises(ValueError, match="too few batches"):
        tokens_per_s([ScoredBatch(1, 0.0, 1.0, 100), ScoredBatch(2, 1.0, 2.0, 100)])


def test_the_share_is_that_of_each_round(result: dict[str, Any]) -> None:
    """The share is the median of the rounds' ratios, and the target is one of BERT-base alone."""
    (target,) = RAY_TARGETS
    assert share(result, "bert-base").median == pytest.approx((0.95 + 0.85) / 2)
    assert measured(target, result) == share(result, "bert-base")
    result["ray"]["checkpoint"] = "bert-base, 2 of its layers"
    assert measured(target, result) is None
    del result["ray"]
    assert measured(target, result) is None


def test_publication_writes_the_guide_alone(result: dict[str, Any]) -> None:
    """A result with Ray Data changes the guide's figures; one without leaves the guide as it is."""
    guide = publication.RAY_PAGE.read_text(encoding="utf-8")
    before, _, rest = guide.partition(publication.RAY_BEGIN)
    after = rest.partition(publication.RAY_END)[2]

    written = publication.with_ray(guide, result)

    assert written.startswith(before)
    assert written.endswith(after)
    row = "| bert-base | 1,500 (1,000 to 2,000) | 1,325 (950 to 1,700) | 0.900 (0.850 to 0.950) |"
    assert row in tables.page(result)
    assert tables.page(result) in written
    del result["ray"]
    assert publication.with_ray(guide, result) == guide
