"""The measurement of windows on long reviews runs, and its statistics are right."""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.long_reviews import area_under_curve, joined, measure, shortened
from benchmarks.readings import Subject
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from tests.contract.engines import FakeEngine
from training.data import Review

WINDOW_TOKENS = 24
GOOD, BAD = "I love it. " * 8, "It fell apart. " * 8


class ByIds(FakeEngine):
    """Gives texts with other tokens other logits."""

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        logits = super().infer(encodings, terms)
        first = [sum(encoding.ids) % 13 / 4 for encoding in encodings]
        logits.values[:, 0] = first
        return logits


def product(group: str, reviews: int) -> list[Review]:
    """Return invented reviews of a product, of one and of five stars by turns."""
    of_stars = {1: Review("", BAD, 1, group), 5: Review("", GOOD, 5, group)}
    return [of_stars[1 if place % 2 else 5] for place in range(reviews)]


def test_it_measures_every_reading(
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run on a few reviews has a row for each reading, with a figure in each column, and says how
    far it is.
    """
    only_good = [Review("", GOOD, 5, "b")] * 12
    whole = checkpoint("bert")
    short = shortened(whole, tmp_path, WINDOW_TOKENS)
    config = ServerConfig(
        port=0,
        model=(f"whole={whole}", f"short={short}"),
    )
    with Server(config, ByIds().launch) as server:
        subject = Subject(server.target, [os.getpid()])
        parts = measure(subject, [*product("a", 14), *only_good], 4, WINDOW_TOKENS, rounds=1)
        tables = "\n\n".join(parts)

    assert "2 texts of 12 reviews" in tables
    rows = re.findall(r"^\| (?!reading|---)(.*) \|$", tables, re.MULTILINE)
    assert [len(row.split(" | ")) for row in rows] == [6] * 10 + [4] * 5
    assert "4 texts, round 1 of 1: windows, max_score, overlap 1/2" in capsys.readouterr().err


def test_only_whole_sets_of_one_product_are_joined() -> None:
    """A product of 25 reviews gives two texts of 12; a product of 11 gives none."""
    sets = joined([*product("a", 11), *product("b", 25)])

    assert [{review.group for review in each} for each in sets] == [{"b"}, {"b"}]
    assert [len(each) for each in sets] == [12, 12]


def test_area_under_curve() -> None:
    """It is the share of pairs in which the positive text has the higher score; a tie is a half."""
    is_positive = np.array([True, False, True, False])

    assert area_under_curve(is_positive, np.array([0.9, 0.1, 0.5, 0.5])) == (3 + 0.5) / 4
    assert area_under_curve(is_positive, np.array([0.1, 0.9, 0.2, 0.8])) == 0
