"""Where windows lie, what they weigh, and how their answers become one."""

import random

import numpy as np
import pytest

from classwire_server.windows import WindowPlan, count, highest, lay, mean_logits, weights


def runs(tokens: int, room: int, overlap: int | None) -> list[tuple[int, int]]:
    """The first token of each window, and the token after its last."""
    plan = WindowPlan(tokens=1_000, max_windows=100, overlap=overlap)
    return [(run.start, run.stop) for run in lay(tokens, room, plan.step(room))]


@pytest.mark.parametrize(
    ("tokens", "room", "overlap", "expected"),
    [
        (10, 10, None, [(0, 10)]),
        (11, 10, None, [(0, 10), (1, 11)]),
        (18, 10, 2, [(0, 10), (8, 18)]),
        (19, 10, 2, [(0, 10), (8, 18), (9, 19)]),
        (20, 10, 0, [(0, 10), (10, 20)]),
        (12, 10, 500, [(0, 10), (2, 12)]),
        (20, 7, 500, [(0, 7), (4, 11), (8, 15), (12, 19), (13, 20)]),
        (20, 7, None, [(0, 7), (6, 13), (12, 19), (13, 20)]),
        (3, 1, None, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_windows_are_laid_as_documented(
    tokens: int, room: int, overlap: int | None, expected: list[tuple[int, int]]
) -> None:
    """Window k begins at k * (room - overlap), the last is moved back; fractions are rounded
    down.
    """
    assert runs(tokens, room, overlap) == expected


def test_every_token_counts_once() -> None:
    """Windows cover all tokens, are full and sorted, and weigh as much as there are tokens."""
    dice = random.Random(0)
    for _ in range(100):
        room = dice.randrange(1, 40)
        tokens = room + dice.randrange(0, 300)
        plan = WindowPlan(400, 400, dice.choice([None, dice.randrange(0, 60)]))
        windows = lay(tokens, room, plan.step(room))

        assert len(windows) == count(tokens, room, plan.step(room))
        assert {token for window in windows for token in window} == set(range(tokens))
        assert all(len(window) == room for window in windows)
        assert len({window.start for window in windows}) == len(windows)
        readers = [sum(token in window for window in windows) for token in range(tokens)]
        expected = [sum(1 / readers[token] for token in window) for window in windows]
        assert weights(windows) == pytest.approx(expected, rel=1e-12)
        assert sum(weights(windows)) == pytest.approx(tokens, rel=1e-12)


def test_means_are_computed_in_float64() -> None:
    """A mean of float32 logits loses nothing that float32 would."""
    logits = np.array([[1e8, 1.0], [-1e8, 3.0], [1.0, 8.0]], np.float32)

    assert mean_logits(logits, [1.0, 1.0, 2.0]).tolist() == [0.5, 5.0]


def test_the_highest_score_is_of_the_first_window_that_has_it() -> None:
    """Ties go to the earlier window, and a NaN wins, so that it is found."""
    scores = np.array([[0.5, 0.1, 0.3], [0.5, 0.2, np.nan], [0.4, 0.2, 0.9]])

    assert highest(scores).tolist() == [0, 1, 1]
