"""Accuracy of int8 and float32: the embedded checkpoint on reviews of held-out products."""

from collections.abc import Callable
from pathlib import Path

from classwire import Classification, Client
from training.data import load_reviews, split_by_group

from .served import CLASSWIRE, Served


def measure(reviews: Path, say: Callable[[str], None]) -> dict[str, float]:
    """Return the share of held-out reviews with the right number of stars, by precision."""
    held_out = split_by_group(load_reviews(reviews)).test
    texts = [review.full_text for review in held_out]
    right: dict[str, float] = {}
    for precision in ("float32", "int8"):
        say(f"accuracy: {precision}, {len(texts)} reviews")
        with (
            Served(*CLASSWIRE, "--precision", precision) as server,
            Client(server.target) as client,
        ):
            stream = client.classify_stream(texts, in_order=True, truncation="drop_end")
            outcomes = {result.id: result.outcome for result in stream}
        hits = 0
        for review, outcome in zip(held_out, outcomes.values(), strict=True):
            if not isinstance(outcome, Classification):
                raise outcome
            hits += outcome.scores[0].label_id == review.label
        right[precision] = hits / len(texts)
    return right
