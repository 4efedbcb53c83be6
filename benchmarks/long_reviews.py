"""Cost and use of windows on long reviews: overlaps, aggregations, and the head of a text alone.

    python -m benchmarks.long_reviews FOLDER [--texts 400] [--window-tokens 32] [--rounds 5]

FOLDER has the reviews.jsonl that training/README.md describes. The server has the embedded
checkpoint twice: as it is, and as a copy that takes only `--window-tokens` tokens, so that real
reviews have several windows. The first table compares the longest held-out reviews with their
stars. For the second, reviews of one product are joined into texts that are too long for the
embedded checkpoint itself. Processor time is that of the server and its models. The readings take
turns, so a ratio compares readings of one round.
"""

import argparse
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classwire import Client, raise_for_errors
from classwire_server.config.server_config import EMBEDDED_FOLDER
from training.data import STARS, Review, load_reviews, split_by_group
from training.metrics import quality

from .figures import digits, ratio
from .instrument import end_on_sigterm
from .machine import in_words, machine
from .markdown import table
from .progress import progress
from .readings import (
    SHORT,
    WHOLE,
    Reading,
    Scores,
    Subject,
    readings_of_joined,
    readings_of_reviews,
    take_turns,
)
from .served import CLASSWIRE, Served
from .workload import SPECIAL_TOKENS

JOINED_REVIEWS = 12
"""Reviews of a joined text, to make it longer than the 512 tokens of the embedded checkpoint."""


def table_of_reviews(readings: Iterable[Reading], reviews: Sequence[Review], tokens: int) -> str:
    """Return what each reading costs, and how well it agrees with the stars. `tokens`: of all
    texts, without special tokens.
    """
    truth = np.array([review.label for review in reviews])
    first, *_ = readings
    rows = []
    for reading in readings:
        found = quality(truth, reading.scores.argmax(axis=1))
        rows.append(
            (
                reading.name,
                digits(reading.tokens / tokens),
                digits(ratio(reading.cpu_s, first.cpu_s).median),
                f"{found.accuracy:.1%}",
                f"{found.off_by_one:.1%}",
                f"{found.mean_absolute_error:.3f}",
            )
        )
    heads = (
        "reading",
        "tokens read per token",
        "processor time",
        "exact",
        "off by one",
        "error in stars",
    )
    return table(heads, rows)


def table_of_joined(
    readings: Iterable[Reading], sets: Sequence[Sequence[Review]], tokens: int
) -> str:
    """Return how well each reading answers a question about a part and one about the whole."""
    has_one_star = np.array([min(review.stars for review in texts) == 1 for texts in sets])
    mean_stars = np.array([np.mean([review.stars for review in texts]) for texts in sets])
    rows = []
    for reading in readings:
        shares = reading.scores / reading.scores.sum(axis=1, keepdims=True)  # (texts, labels)
        correlation = np.corrcoef(mean_stars, shares @ np.array(STARS))[0, 1]
        area = area_under_curve(has_one_star, reading.scores[:, 0])
        cost = digits(reading.tokens / tokens)
        rows.append((reading.name, cost, f"{area:.3f}", f"{correlation:.3f}"))
    heads = ("reading", "tokens read per token", "finds one star (AUC)", "mean stars (correlation)")
    return table(heads, rows)


def area_under_curve(is_positive: NDArray[np.bool_], scores: Scores) -> float:
    """Return the probability that a positive text has a higher score than a negative one."""
    difference = scores[is_positive][:, None] - scores[~is_positive]  # (positive, negative)
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def shortened(checkpoint: Path, copy: Path, max_tokens: int) -> Path:
    """Copy a checkpoint into an empty folder; the copy takes `max_tokens` tokens."""
    shutil.copytree(checkpoint, copy, dirs_exist_ok=True)
    config = copy / "tokenizer_config.json"
    settings: Mapping[str, object] = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**settings, "model_max_length": max_tokens}), encoding="utf-8")
    return copy


def count_tokens(client: Client, reviews: Sequence[Review]) -> list[int]:
    """Return the number of tokens of each review, without special tokens."""
    texts = (review.full_text for review in reviews)
    results = raise_for_errors(client.classify_stream(texts, in_order=True, model=WHOLE))
    return [result.token_count - SPECIAL_TOKENS for result in results]


def joined(reviews: Sequence[Review]) -> list[list[Review]]:
    """Return sets of JOINED_REVIEWS reviews of one product; the rest of a product is left out."""
    sets = []
    for _, found in groupby(sorted(reviews, key=lambda r: r.group), key=lambda r: r.group):
        product = list(found)
        for start in range(0, len(product) - JOINED_REVIEWS + 1, JOINED_REVIEWS):
            sets.append(product[start : start + JOINED_REVIEWS])
    return sets


def measure(
    subject: Subject, held_out: Sequence[Review], texts: int, window_tokens: int, rounds: int
) -> Iterator[str]:
    """Yield each table as Markdown: of the longest `texts` reviews, and of joined reviews."""
    say = progress()
    say(f"counting the tokens of {len(held_out)} reviews")
    with Client(subject.target) as client:
        tokens_of = dict(zip(held_out, count_tokens(client, held_out), strict=True))
    reviews = sorted(held_out, key=lambda review: -tokens_of[review])[:texts]
    of_reviews = readings_of_reviews(window_tokens)
    take_turns(subject, of_reviews, [review.full_text for review in reviews], rounds, say)
    lengths = [tokens_of[review] for review in reviews]
    yield (
        f"{len(reviews)} reviews of {lengths[-1]} to {lengths[0]} tokens, "
        f"windows of {window_tokens} tokens, {rounds} rounds\n\n"
        f"{table_of_reviews(of_reviews, reviews, sum(lengths))}"
    )
    sets, of_joined = joined(held_out), readings_of_joined()
    joined_texts = ["\n".join(review.full_text for review in each) for each in sets]
    take_turns(subject, of_joined, joined_texts, 0, say)
    joined_tokens = sum(tokens_of[review] for each in sets for review in each)
    yield (
        f"{len(sets)} texts of {JOINED_REVIEWS} reviews, on average "
        f"{joined_tokens / len(sets):.0f} tokens\n\n"
        f"{table_of_joined(of_joined, sets, joined_tokens)}"
    )


def main() -> None:
    """Start the server, measure, and print both tables."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks.long_reviews"
    )
    folder = os.environ.get("CLASSWIRE_TRAINING_DATA")
    parser.add_argument(
        "folder", type=Path, nargs="?" if folder else None, default=folder, help="of reviews.jsonl"
    )
    parser.add_argument("--texts", type=int, default=400, help="number of the longest reviews")
    parser.add_argument("--window-tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    end_on_sigterm()
    held_out = split_by_group(load_reviews(args.folder)).test
    at = machine()
    print(f"{datetime.now(UTC).date()}, {in_words(at)}, torch {at['torch']}", flush=True)
    with tempfile.TemporaryDirectory() as copy:
        short = shortened(EMBEDDED_FOLDER, Path(copy), args.window_tokens)
        models = ("--model", f"{WHOLE}={EMBEDDED_FOLDER}", "--model", f"{SHORT}={short}")
        with Served(*CLASSWIRE, *models) as server:
            subject = Subject(server.target, server.pids)
            for found in measure(subject, held_out, args.texts, args.window_tokens, args.rounds):
                print(f"\n{found}", flush=True)


if __name__ == "__main__":
    main()
