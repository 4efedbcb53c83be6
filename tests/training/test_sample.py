"""The sample of the notebook comes from the test products of the training data."""

import csv
import io
import os
from collections import Counter
from pathlib import Path

import pytest

from training.data import Review, load_reviews, split_by_group
from training.sample import FILE, LABELS, ROWS_PER_LABEL, sample

DATA = os.environ.get("CLASSWIRE_TRAINING_DATA", "")
LARGEST_BYTES = 100_000


def rows(table: str) -> list[tuple[str, str]]:
    """Return text and label of each row."""
    return [(row["text"], row["label"]) for row in csv.DictReader(io.StringIO(table))]


def test_the_sample_is_small_and_balanced() -> None:
    """The repository's sample has as many texts of each label, none twice, in at most 100 kB."""
    found = rows(FILE.read_text(encoding="utf-8"))
    assert Counter(label for _, label in found) == dict.fromkeys(LABELS.values(), ROWS_PER_LABEL)
    assert len(dict(found)) == len(found)
    assert FILE.stat().st_size <= LARGEST_BYTES


def test_the_sample_has_no_product_of_the_training() -> None:
    """Every text is a review of a product in the test set, with the label of its stars."""
    reviews = [Review("", f"text {n}", n % 5 + 1, str(n // 5)) for n in range(5_000)]
    test = {review.full_text: LABELS[review.stars] for review in split_by_group(reviews).test}
    found = rows(sample(reviews))
    assert len(found) == 3 * ROWS_PER_LABEL
    assert dict(found).items() <= test.items()


@pytest.mark.skipif(not DATA, reason="CLASSWIRE_TRAINING_DATA names no folder of the data")
def test_the_sample_is_made_by_its_command() -> None:
    """The sample in the repository is the one that `python -m training.sample` writes."""
    assert FILE.read_text(encoding="utf-8") == sample(load_reviews(Path(DATA)))
