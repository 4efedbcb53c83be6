"""Tokenizers that are written in Python, or read a sentencepiece model, with small vocabularies."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from . import vocabularies


def _canine(folder: Path) -> Any:
    return transformers.CanineTokenizer()


def _perceiver(folder: Path) -> Any:
    return transformers.PerceiverTokenizer()


def _esm(folder: Path) -> Any:
    tokens = ["<cls>", "<pad>", "<eos>", "<unk>", *vocabularies.AMINO_ACIDS, "<mask>"]
    return transformers.EsmTokenizer(_lines(folder / "vocab.txt", tokens))


def _ctrl(folder: Path) -> Any:
    vocabulary, merges = vocabularies.ended_pairs(["<unk>"])
    # Its tokens have @@ where a word goes on, and no mark at a word's end.
    tokens = dict.fromkeys(
        token.removesuffix("</w>") if token.endswith("</w>") else f"{token}@@"
        for token in list(vocabulary)[1:]
    )
    numbered = {token: index for index, token in enumerate(["<unk>", *tokens])}
    file = folder / "vocab.json"
    file.write_text(json.dumps(numbered), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    return transformers.CTRLTokenizer(str(file), _lines(folder / "merges.txt", lines))


def _roc_bert(folder: Path) -> Any:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = vocabularies.word_pieces(special)
    files = []
    for name in ("word_shape.json", "word_pronunciation.json"):
        file = folder / name
        numbers = {token: index % 40 for token, index in vocabulary.items()}
        file.write_text(json.dumps(numbers), encoding="utf-8")
        files.append(str(file))
    return transformers.RoCBertTokenizer(_lines(folder / "vocab.txt", vocabulary), *files)


def _plbart(folder: Path) -> Any:
    return transformers.PLBartTokenizer(_sentencepiece(folder, "unigram"))


def _gpt_sw3(folder: Path) -> Any:
    return transformers.GPTSw3Tokenizer(_sentencepiece(folder, "bpe"))


def _sentencepiece(folder: Path, kind: str) -> str:
    file = folder / "spiece.model"
    file.write_bytes(vocabularies.sentencepiece_model(kind))
    return str(file)


def _lines(file: Path, lines: Any) -> str:
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


FROM_FILES: dict[str, Callable[[Path], Any]] = {
    "canine": _canine,
    "ctrl": _ctrl,
    "esm": _esm,
    "gpt-sw3": _gpt_sw3,
    "perceiver": _perceiver,
    "plbart": _plbart,
    "roc_bert": _roc_bert,
}
"""How to make the tokenizer of a type; the folder gets its vocabulary files."""
