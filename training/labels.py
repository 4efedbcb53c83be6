"""Class ids of reviews, and the weights of classes in training."""

from collections.abc import Sequence

import numpy as np

from training.data import STARS, Review
from training.metrics import Labels


def labels_of(reviews: Sequence[Review]) -> Labels:
    """Return class ids, shape `(reviews,)`."""
    return np.array([review.label for review in reviews], dtype=np.int64)


def class_weights(labels: Labels, balance: float) -> dict[int, float]:
    """Return the weight of each class id, scaled so that the mean weight of a text is 1."""
    counts = np.bincount(labels, minlength=len(STARS))
    weights = counts.astype(float) ** -balance
    weights *= counts.sum() / (weights * counts).sum()
    return {label: float(weight) for label, weight in enumerate(weights)}
