"""Reviews with stars, and their split by product."""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

STARS = (1, 2, 3, 4, 5)
SPLIT_SEED = 2026
VALIDATION_SHARE = 0.125
TEST_SHARE = 0.125

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Review:
    """One review: title and text, stars, and product."""

    title: str
    text: str
    stars: int
    group: str

    @property
    def full_text(self) -> str:
        """Title and text as one string, the classifier's input for a whole review."""
        return join(self.title, self.text)

    @property
    def sentences(self) -> list[str]:
        """The text cut after `.`, `!` and `?`; at least one sentence."""
        return [part for part in _SENTENCE_END.split(self.text.strip()) if part] or [self.full_text]

    @property
    def label(self) -> int:
        """Class id, 0 for one star to 4 for five."""
        return self.stars - 1


@dataclass(frozen=True)
class Split:
    """Three sets of reviews that share no product."""

    train: list[Review]
    validation: list[Review]
    test: list[Review]


def join(title: str, text: str) -> str:
    """Join title and text, with a full stop between them if the title has no end mark."""
    title = title.strip()
    if not title:
        return text.strip()
    return f"{title}{'' if title[-1] in '.!?' else '.'} {text.strip()}"


def load_reviews(folder: Path) -> list[Review]:
    """Read `reviews.jsonl` of a data folder, in file order."""
    with (folder / "reviews.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Review(row["title"], row["text"], int(row["stars"]), str(row["group"])) for row in rows]


def split_by_group(reviews: Sequence[Review], seed: int = SPLIT_SEED) -> Split:
    """Assign whole products, in a seeded order, to test, then validation, then train.

    A set is full when it has its share of all reviews; each set keeps the file's order.
    """
    groups = sorted({review.group for review in reviews})
    random.Random(seed).shuffle(groups)
    sizes = dict.fromkeys(groups, 0)
    for review in reviews:
        sizes[review.group] += 1

    set_of_group: dict[str, str] = {}
    dealt = 0
    for group in groups:
        share = dealt / len(reviews)
        if share < TEST_SHARE:
            set_of_group[group] = "test"
        elif share < TEST_SHARE + VALIDATION_SHARE:
            set_of_group[group] = "validation"
        else:
            set_of_group[group] = "train"
        dealt += sizes[group]

    def members(name: str) -> list[Review]:
        return [review for review in reviews if set_of_group[review.group] == name]

    return Split(members("train"), members("validation"), members("test"))
