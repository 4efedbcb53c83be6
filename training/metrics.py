"""Metrics of predictions."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from training.data import STARS

Labels = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Quality:
    """Shares between 0 and 1, except `mean_absolute_error`, which is in stars."""

    texts: int
    accuracy: float
    off_by_one: float
    macro_f1: float
    mean_absolute_error: float

    def rounded(self) -> dict[str, float | int]:
        """The figures as a JSON object, rounded to four decimals."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def f1_by_label(truth: Labels, predicted: Labels) -> list[float]:
    """Return F1 of each class id, in order; 0 for a class without a correct prediction."""
    scores = []
    for label in range(len(STARS)):
        hits = int(((truth == label) & (predicted == label)).sum())
        named = int((truth == label).sum() + (predicted == label).sum())
        scores.append(2 * hits / named if named else 0.0)
    return scores


def quality(truth: Labels, predicted: Labels) -> Quality:
    """Compare class ids, both of shape `(texts,)`.

    `off_by_one` is the share at most one star away, including exact ones. A class that is neither
    present nor predicted counts as F1 = 0.
    """
    distance = np.abs(truth - predicted)
    return Quality(
        texts=len(truth),
        accuracy=float((distance == 0).mean()),
        off_by_one=float((distance <= 1).mean()),
        macro_f1=float(np.mean(f1_by_label(truth, predicted))),
        mean_absolute_error=float(distance.mean()),
    )


def selection_score(measured: Quality) -> float:
    """Return macro-F1 minus mean absolute error, by which validation chooses."""
    return measured.macro_f1 - measured.mean_absolute_error


def calibration_error(truth: Labels, probabilities: Probabilities, bins: int = 15) -> float:
    """Return the expected calibration error of the top class, over bins of equal width.

    `truth` is `(texts,)`, `probabilities` is `(texts, classes)`; the result is between 0 and 1.
    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    confidence = probabilities.max(axis=1)  # (texts,)
    correct = probabilities.argmax(axis=1) == truth  # (texts,)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for index in range(bins):
        inside = bin_of == index
        if inside.any():
            error += float(inside.mean()) * abs(
                float(correct[inside].mean()) - float(confidence[inside].mean())
            )
    return error
