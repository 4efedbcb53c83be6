"""The reviews that the demo streams: customers' texts with the stars that they gave."""

import json
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("reviews.jsonl")
"""`python -m training.demo_reviews` writes it from reviews in the public domain (CC0)."""


@dataclass(frozen=True, slots=True)
class Review:
    """A text, and the stars that its author gave, from 1 to 5."""

    text: str
    stars: int


def reviews() -> list[Review]:
    """Return all reviews, no two of them with the same words."""
    with FILE.open(encoding="utf-8") as lines:
        return [Review(**json.loads(line)) for line in lines]
