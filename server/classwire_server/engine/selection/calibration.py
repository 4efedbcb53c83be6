"""The texts that engines are compared on, and the measure of their difference."""

import os
from importlib.resources import files
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np

from classwire_server.checkpoint.loading import ProblemType
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Deviation
from classwire_server.errors import ConfigError
from classwire_server.scoring import Activation, scores
from classwire_server.tokenization import Text

_SHORT = (
    "I really love this book",
    "Not worth the money.",
    "It's fine, I suppose: nothing special",
    "ok",
    "The room was clean and the staff were kind, but breakfast ended far too early for us.",
    "这本书非常好。 Muy recomendable, lo leería otra vez",
)
LONG_TEXT = Text(" ".join(_SHORT * 8))
PAIR = Text("A pair has two texts", "and the second one answers the first")
_TWINS = tuple(Text(" ".join(reversed(_SHORT[index].split()))) for index in (0, 4))
"""As long as two of the short texts, so that groups of equal length have two texts."""
PARITY_TEXTS = (*map(Text, _SHORT), *_TWINS, LONG_TEXT, PAIR)
"""Enough to see whether an engine computes the same function: a layout error affects every text."""

_PAIRS = 10
_LINES_OF_LONG_TEXTS = (2, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8, 34)  # the last is cut at 512 tokens

_SMALLEST_SPREAD = 1e-6

ROUNDING = 1.5
"""Allowed ratio of the largest rounding errors of two programs that compute the same sums."""


def calibration_texts(path: str = "") -> tuple[Text, ...]:
    """The texts to compare precisions on: the lines of the user's file, or 128 built-in texts.

    The built-in ones are lines in many languages and scripts, some pairs of them, and some lines
    joined to texts of up to about 512 tokens. The user's file is UTF-8, and its blank lines are
    skipped. Raises ConfigError for a file that cannot be read or has no text.
    """
    if path:
        return tuple(Text(line) for line in _lines_of(Path(os.path.expanduser(path))))
    lines = _lines((files(__package__) / "calibration.txt").read_text(encoding="utf-8"))
    step = len(lines) // _PAIRS
    pairs = (Text(lines[i * step], lines[i * step + 1]) for i in range(_PAIRS))
    edges = pairwise(accumulate(_LINES_OF_LONG_TEXTS, initial=0))
    repeated = lines * 2  # the long texts need more lines than there are
    long = (Text(" ".join(repeated[start:end])) for start, end in edges)
    return (*map(Text, lines), *pairs, *long)


def measure_deviation(
    expected: np.ndarray, actual: np.ndarray, activation: Activation, problem_type: ProblemType
) -> Deviation:
    """Measure how far logits are from the expected ones.

    Both are (texts, labels) with at least one text. A difference that is not finite counts as
    infinite, and logits that are not finite count as another label.
    """
    finite = np.isfinite(actual).all(axis=1)  # (texts,)
    with np.errstate(invalid="ignore", over="ignore"):
        before, after = scores(expected, activation), scores(actual, activation)
        difference = float(np.abs(after - before).max())
    same = finite
    if problem_type is ProblemType.REGRESSION:
        difference /= spread(before)
    else:
        same = finite & (after.argmax(axis=1) == before.argmax(axis=1))
    if not (finite.all() and np.isfinite(difference)):
        difference = float("inf")
    return Deviation(len(expected), float(same.mean()), difference)


def spread(answers: np.ndarray) -> float:
    """The range of a regression model's answers, at least a small positive number."""
    return max(float(np.ptp(answers)), _SMALLEST_SPREAD)


def accepts(deviation: Deviation, config: ServerConfig) -> bool:
    """Whether `--precision auto` may take an engine with this deviation."""
    return (
        deviation.label_agreement >= config.min_label_agreement
        and deviation.max_score_difference <= config.max_score_difference
    )


def is_as_close(found: Deviation, plain: Deviation, config: ServerConfig) -> bool:
    """Whether an engine may replace the plain one, which computes the same sums in half precision
    or int8: its scores are about as close to float32, or within the limits of `accepts`.
    """
    least_agreement = plain.label_agreement - (1 - config.min_label_agreement)
    about_as_good = (
        found.label_agreement >= least_agreement
        and found.max_score_difference <= ROUNDING * plain.max_score_difference
    )
    return about_as_good or accepts(found, config)


def _lines_of(path: Path) -> list[str]:
    try:
        lines = _lines(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError("calibration", f"{path}: {why}") from None
    if not lines:
        raise ConfigError("calibration", f"{path}: has no text")
    return lines


def _lines(content: str) -> list[str]:
    return [line for line in content.split("\n") if line.strip()]
