"""Checkpoints to measure: shapes with random weights, and the embedded one.

The random ones have a vocabulary in which each word of five letters is one token, so that texts can
have any length in tokens.
"""

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, printable
from typing import TYPE_CHECKING

from classwire_server.config.server_config import EMBEDDED_FOLDER

from .workload import SPECIAL_TOKENS

if TYPE_CHECKING:
    from transformers import BertForSequenceClassification

VOCABULARY = 105_879
LABELS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_LETTERS = (*printable.split()[0], *(f"##{letter}" for letter in printable.split()[0]))
"""Single characters, so that any other text has tokens too."""
_POSITIONS = 512


@dataclass(frozen=True)
class Shape:
    """The sizes and labels of a BERT classifier, by default with the reference's vocabulary."""

    name: str
    layers: int
    hidden: int
    heads: int
    intermediate: int
    labels: tuple[str, ...] = LABELS
    vocabulary: int = VOCABULARY

    @property
    def linear_flops_per_token(self) -> int:
        """Operations per token of the encoder's linear layers: two per weight."""
        per_layer = 4 * self.hidden * self.hidden + 2 * self.hidden * self.intermediate
        return 2 * self.layers * per_layer

    def attention_flops(self, lengths: Sequence[int]) -> int:
        """Operations per token of attention's two products, within one text."""
        return 4 * self.layers * self.hidden * sum(length * length for length in lengths)


BERT_BASE = Shape("bert-base", layers=12, hidden=768, heads=12, intermediate=3_072)
BERT_SLICE = Shape("bert-base, 2 of its layers", layers=2, hidden=768, heads=12, intermediate=3_072)
"""For short runs: BERT-base with fewer layers."""
SMALL = Shape("small", layers=4, hidden=128, heads=2, intermediate=512)
BERT_ENGLISH = dataclasses.replace(BERT_BASE, name="bert-base, 110 M", vocabulary=30_522)
"""BERT-base with as many parameters as the English one: 110 million."""
TINY = Shape("tiny", layers=2, hidden=192, heads=6, intermediate=768, vocabulary=6_000)
"""A model that costs a server little, to load next to another one."""


def words(vocabulary: int = VOCABULARY) -> list[str]:
    """A vocabulary's words: each has five letters and is one token."""
    places = [len(ascii_lowercase) ** power for power in range(4, -1, -1)]
    # Takes every hundredth, so that words differ in more than their last letter.
    return [
        "".join(ascii_lowercase[number // place % len(ascii_lowercase)] for place in places)
        for number in range(0, 100 * (vocabulary - len(_SPECIAL) - len(_LETTERS)), 100)
    ]


def embedded_words() -> list[str]:
    """Words that are single tokens for the embedded checkpoint."""
    tokens = (EMBEDDED_FOLDER / "vocab.txt").read_text(encoding="utf-8").split()
    return [token for token in tokens if token.isascii() and token.isalpha() and len(token) > 2]


def words_of(checkpoint: str) -> list[str]:
    """The words of a checkpoint: "embedded", or a shape's name."""
    if checkpoint == "embedded":
        return embedded_words()
    return words(BERT_ENGLISH.vocabulary if checkpoint == BERT_ENGLISH.name else VOCABULARY)


def texts(lengths: Sequence[int], vocabulary: Sequence[str]) -> list[str]:
    """Return a text of random words for each length in tokens, including special tokens."""
    drawn = random.Random(0)
    return [" ".join(drawn.choices(vocabulary, k=n - SPECIAL_TOKENS)) for n in lengths]


def build(shape: Shape) -> "BertForSequenceClassification":
    """Return the classifier, with the same random weights every time. Imports torch."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=_POSITIONS,
        id2label=dict(enumerate(shape.labels)),
        label2id={label: number for number, label in enumerate(shape.labels)},
    )
    torch.manual_seed(0)
    model: BertForSequenceClassification = BertForSequenceClassification(config).eval()
    return model


def save(shape: Shape, folder: Path) -> None:
    """Write a checkpoint that the server and transformers load. Imports torch."""
    from transformers import BertTokenizer

    build(shape).save_pretrained(folder)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text(
        "\n".join((*_SPECIAL, *_LETTERS, *words(shape.vocabulary))) + "\n", encoding="utf-8"
    )
    tokenizer = BertTokenizer(vocab=str(vocabulary), model_max_length=_POSITIONS)
    tokenizer.save_pretrained(folder)
