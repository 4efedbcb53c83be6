"""Small vocabularies, the same in every process: words, letters, and merges that join them."""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import sentencepiece
from tokenizers import pre_tokenizers

CORPUS = (
    "I really love this book, and the one before it was good as well.",
    "The hotel room was clean but the breakfast was cold and the staff rude.",
    "Terrible software: it crashed twice a day and lost all of my work!",
    "It's fine, I suppose; nothing special. 1234567890",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz - [ ] < > / | _",
)
WORDS = tuple(sorted({word for text in CORPUS for word in re.findall(r"\w+|[^\w\s]", text)}))
LETTERS = tuple(sorted({letter for word in WORDS for letter in word}))
AMINO_ACIDS = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
SPACE = "\u2581"
"""The letter that stands for a space in the vocabularies of sentencepiece."""


def word_pieces(special: Iterable[str]) -> dict[str, int]:
    """Return a WordPiece vocabulary that begins with the special tokens."""
    pieces = [*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    return _numbered([*special, *(piece.lower() for piece in pieces)])


def unigrams(special: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return a Unigram vocabulary with scores that begins with the special tokens."""
    pieces = dict.fromkeys([*(SPACE + word for word in WORDS), SPACE, *LETTERS])
    taken = {token for token, _ in special}
    scored = [(piece, -2.0 if len(piece) > 1 else -6.0) for piece in pieces]
    return [*special, *(each for each in scored if each[0] not in taken)]


def byte_pairs(special: Iterable[str] = ()) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and merges of a byte-level BPE."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=True)
    words = [split.pre_tokenize_str(word)[0][0] for word in WORDS]
    return _merged([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())], words)


def spaced_pairs(special: Iterable[str] = ()) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and merges of a BPE with ▁ for spaces, and a token for each byte."""
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), SPACE, *LETTERS]
    return _merged(tokens, [SPACE + word for word in WORDS])


def ended_pairs(
    special: Iterable[str] = (), ending: str = "</w>"
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the vocabulary and merges of a BPE that marks the last letter of a word."""
    letters = dict.fromkeys(letter.lower() for letter in LETTERS)
    tokens = [*special, *letters, *(letter + ending for letter in letters)]
    return _merged(tokens, [[*word[:-1], word[-1] + ending] for word in map(str.lower, WORDS)])


def sentencepiece_model(kind: str) -> bytes:
    """Return a sentencepiece model trained on the corpus; `kind` is unigram or bpe."""
    trainer: Any = sentencepiece.SentencePieceTrainer
    model = io.BytesIO()
    trainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_writer=model,
        model_type=kind,
        vocab_size=160,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _merged(
    tokens: Iterable[str], words: Iterable[Sequence[str]]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Join each word, given as its symbols, from its first symbol to its last."""
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        left = word[0]
        for right in word[1:]:
            merges[left, right] = None
            left += right
    return _numbered([*tokens, *(left + right for left, right in merges)]), list(merges)


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}
