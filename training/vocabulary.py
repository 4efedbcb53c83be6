"""The checkpoint's own WordPiece vocabulary and tokenizer."""

import string
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer
from tokenizers.normalizers import BertNormalizer
from transformers import BertTokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TOKENS = 512


def splits(character: str) -> bool:
    """Whether BERT splits words at this character, so that no piece continues with it."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def learn_pieces(texts: Sequence[str], size: int) -> list[str]:
    """Return at most `size` lowercase word pieces in id order, the same for the same texts.

    It passes single characters explicitly: otherwise the trainer numbers them in the order of a
    hash table, and breaks ties between pieces by these numbers.
    """
    normalizer = BertNormalizer(lowercase=True)
    characters = sorted(set("".join(normalizer.normalize_str(text) for text in texts)) - {" "})
    letters = [each for each in characters if each.isalnum()]
    symbols = [each for each in characters if not each.isalnum() and not splits(each)]
    following = [f"##{each}" for each in (*letters, *symbols)]
    fixed = [*SPECIAL_TOKENS, *characters, *following]
    learner = BertWordPieceTokenizer(lowercase=True)
    learner.train_from_iterator(
        texts, vocab_size=size, min_frequency=3, special_tokens=fixed, show_progress=False
    )
    ids = learner.get_vocab()
    return sorted(ids, key=lambda piece: ids[piece])


def train_tokenizer(texts: Sequence[str], size: int, folder: Path) -> BertTokenizer:
    """Learn a vocabulary and write the tokenizer's files into `folder`."""
    pieces = learn_pieces(texts, size)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    tokenizer = BertTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        do_lower_case=True,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
