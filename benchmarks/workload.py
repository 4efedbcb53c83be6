"""The lengths of the benchmark's texts, drawn once from real reviews.

    python -m benchmarks.workload REVIEWS.jsonl

writes `workload.json` from the CC0 "Women's E-Commerce Clothing Reviews": one JSON object a line
with "text" and "group" (the product). The file contains only lengths, in tokens of the embedded
checkpoint, including special tokens. 50 % are sentences (5 to 25 tokens), 40 % whole reviews (30 to
150), 10 % joined reviews of one product (151 to 510), since single reviews end at 500 characters.
The file in the repository is from the predecessor of today's checkpoint.
"""

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("workload.json")
SEED = 7
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class Share:
    """A share of a workload: texts of `least` to `most` tokens."""

    name: str
    of_texts: float
    least: int
    most: int

    def holds(self, tokens: int) -> bool:
        """Whether a text of `tokens` tokens belongs to the share."""
        return self.least <= tokens <= self.most


MIX = (
    Share("sentences", 0.5, 5, 25),
    Share("reviews", 0.4, 30, 150),
    Share("joined reviews", 0.1, 151, 510),
)


@dataclass(frozen=True)
class Workload:
    """Lengths of texts in tokens, including special tokens, in order of arrival."""

    name: str
    lengths: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens of all texts."""
        return sum(self.lengths)

    def first(self, texts: int) -> "Workload":
        """Return the first `texts` texts; every 20 texts have the mix."""
        return Workload(self.name, self.lengths[:texts])


def mixed() -> Workload:
    """Return the shipped workload: 400 texts with real lengths."""
    return Workload("mixed", tuple(json.loads(FILE.read_text(encoding="utf-8"))["lengths"]))


def uniform(tokens: int, texts: int) -> Workload:
    """Return a workload of texts of one length."""
    return Workload(f"{tokens} tokens", (tokens,) * texts)


def interleave(pools: Sequence[Sequence[int]], texts: int, seed: int = SEED) -> list[int]:
    """Draw lengths from the pool of each share of MIX, so that every 20 texts have the mix."""
    generator = np.random.default_rng(seed)
    block = [place for place, share in enumerate(MIX) for _ in range(round(20 * share.of_texts))]
    return [
        int(generator.choice(pools[place]))
        for _ in range(-(-texts // len(block)))
        for place in generator.permutation(block)
    ][:texts]


def joined(lengths: Sequence[int], wanted: int) -> int:
    """Return the length nearest to `wanted` that joining texts of one product, in order, gives.

    A joined text contains its special tokens once.
    """
    sums = accumulate(n - SPECIAL_TOKENS for n in lengths)
    return min((n + SPECIAL_TOKENS for n in sums), key=lambda n: abs(n - wanted))


def _lengths(texts: Iterable[str]) -> list[int]:
    from tokenizers import Tokenizer

    from classwire_server.config.server_config import EMBEDDED_FOLDER

    tokenizer = Tokenizer.from_file(str(EMBEDDED_FOLDER / "tokenizer.json"))
    tokenizer.no_truncation()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts))]


def _make(reviews: Path, texts: int) -> list[int]:
    rows = [json.loads(line) for line in reviews.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["text"]]
    sentences = _lengths(
        part for row in rows for part in re.split(r"(?<=[.!?])\s+", row["text"]) if part
    )
    whole = _lengths(row["text"] for row in rows)
    products: dict[str, list[int]] = defaultdict(list)
    for row, length in zip(rows, whole, strict=True):
        products[row["group"]].append(length)
    generator = np.random.default_rng(SEED)
    many = [lengths for lengths in products.values() if sum(lengths) > 1_000]
    wanted = generator.integers(MIX[2].least, MIX[2].most + 1, size=2_000)
    together = [joined(many[int(generator.integers(len(many)))], int(n)) for n in wanted]
    pools = [
        [length for length in lengths if share.holds(length)]
        for share, lengths in zip(MIX, (sentences, whole, together), strict=True)
    ]
    return interleave(pools, texts)


def main() -> None:
    """Write the shipped workload."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reviews", type=Path, help="reviews, one JSON object a line")
    parser.add_argument("--texts", type=int, default=400)
    arguments = parser.parse_args()
    lengths = _make(arguments.reviews, arguments.texts)
    lines = [", ".join(map(str, lengths[a : a + 20])) for a in range(0, len(lengths), 20)]
    body = ",\n    ".join(lines)
    FILE.write_text(
        '{\n  "source": "lengths of Women\'s E-Commerce Clothing Reviews (CC0), see workload.py",\n'
        f'  "lengths": [\n    {body}\n  ]\n}}\n',
        encoding="utf-8",
    )
    print(f"{FILE.name}: {len(lengths)} texts, {sum(lengths):,} tokens")


if __name__ == "__main__":
    main()
