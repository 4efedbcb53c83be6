"""Write the sample of the notebook: labelled reviews of products that training did not use.

python -m training.sample --data FOLDER
"""

import argparse
import csv
import io
import os
import random
from collections.abc import Sequence
from pathlib import Path

from training.data import Review, load_reviews, split_by_group

FILE = Path(__file__).parents[1] / "examples" / "notebook" / "reviews.csv"
LABELS = {1: "complaint", 2: "complaint", 3: "mixed", 4: "praise", 5: "praise"}
ROWS_PER_LABEL = 96
SEED = 2026


def sample(reviews: Sequence[Review]) -> str:
    """Return a CSV table `text,label` of `ROWS_PER_LABEL` test reviews for each label, shuffled.

    No text occurs twice. A seed determines the choice and the order.
    """
    generator = random.Random(SEED)
    candidates = {each.full_text: LABELS[each.stars] for each in split_by_group(reviews).test}
    rows = list(candidates.items())
    generator.shuffle(rows)
    chosen = []
    for label in sorted(set(LABELS.values())):
        chosen += [row for row in rows if row[1] == label][:ROWS_PER_LABEL]
    generator.shuffle(chosen)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("text", "label"), *chosen])
    return table.getvalue()


def main() -> None:
    """Write the sample; the data folder may also come from the environment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = os.environ.get("CLASSWIRE_TRAINING_DATA")
    parser.add_argument("--data", type=Path, default=known, required=not known)
    FILE.write_text(sample(load_reviews(parser.parse_args().data)), encoding="utf-8")


if __name__ == "__main__":
    main()
