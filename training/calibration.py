"""Sets a trained classifier's last layer by the validation reviews."""

from collections.abc import Sequence

import numpy as np
import torch

from training.data import STARS, Review
from training.finetuning import Classifier
from training.labels import labels_of
from training.metrics import Labels, Probabilities, quality, selection_score


def class_offsets(logits: Probabilities, truth: Labels, step: float = 0.05) -> Probabilities:
    """Return class offsets `(classes,)` for the logits, by hill climbing on the selection score.

    Each step moves one class by one or four increments, at most 1 in total, while the score grows.
    """
    offsets = np.zeros(len(STARS))

    def score(candidate: Probabilities) -> float:
        return selection_score(quality(truth, (logits + candidate).argmax(axis=1)))

    best, grew = score(offsets), True
    while grew:
        grew = False
        for label in range(len(STARS)):
            for change in (-4 * step, -step, step, 4 * step):
                candidate = offsets.copy()
                candidate[label] += change
                if abs(candidate[label]) <= 1.0 and (found := score(candidate)) > best + 1e-9:
                    best, offsets, grew = found, candidate, True
    return offsets


def temperature(logits: Probabilities, truth: Labels) -> float:
    """Return the divisor of the logits `(texts, classes)` with the least cross-entropy.

    It is between 0.5 and 3, in steps of 0.01. Guo et al. 2017, "On Calibration of Modern Neural
    Networks", section 4.2.
    """

    def loss(divisor: float) -> float:
        scaled = torch.from_numpy(logits / divisor)
        return float(torch.nn.functional.cross_entropy(scaled, torch.from_numpy(truth)))

    return min((step / 100 for step in range(50, 301)), key=loss)


def calibrate(classifier: Classifier, validation: Sequence[Review]) -> tuple[list[float], float]:
    """Put class offsets and a temperature into the last layer; return both.

    The offsets change which class is highest, the temperature only how sure the model is of it.
    """
    truth = labels_of(validation)
    logits = np.log(classifier.predict([review.full_text for review in validation]))
    offsets = class_offsets(logits, truth)
    divisor = temperature(logits + offsets, truth)
    layer = classifier.model.classifier
    with torch.no_grad():
        layer.bias.add_(torch.from_numpy(offsets).float())
        layer.bias.div_(divisor)
        layer.weight.div_(divisor)
    return [round(offset, 2) for offset in offsets.tolist()], divisor
