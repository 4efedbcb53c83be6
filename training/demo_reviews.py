"""Draw the reviews that `classwire demo` streams: `python -m training.demo_reviews --data FOLDER`.

They are of test products, which neither training nor selection of the embedded checkpoint used.
"""

import argparse
import json
import os
import random
import re
from collections.abc import Sequence
from pathlib import Path

from classwire_server.cli.demo.reviews import FILE
from training.data import Review, load_reviews, split_by_group

COUNT = 500
SEED = 22

_WORD = re.compile(r"\w+")


def drawn(test: Sequence[Review]) -> list[Review]:
    """Return COUNT reviews, drawn at random, no two of them with the same words."""
    by_words: dict[tuple[str, ...], Review] = {}
    for review in random.Random(SEED).sample(test, len(test)):
        by_words.setdefault(words(review.full_text), review)
    return [*by_words.values()][:COUNT]


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text, without case and punctuation."""
    return tuple(_WORD.findall(text.casefold()))


def lines(reviews: Sequence[Review]) -> str:
    """Return a JSON object for each review, one a line, as `classwire classify --file` reads it."""
    rows = ({"text": each.full_text, "stars": each.stars} for each in reviews)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    """Write the file of the demo."""
    known = os.environ.get("CLASSWIRE_TRAINING_DATA")
    parser = argparse.ArgumentParser(prog="python -m training.demo_reviews", description=__doc__)
    parser.add_argument("--data", type=Path, default=known, required=not known)
    reviews = load_reviews(parser.parse_args().data)
    FILE.write_text(lines(drawn(split_by_group(reviews).test)), encoding="utf-8")


if __name__ == "__main__":
    main()
