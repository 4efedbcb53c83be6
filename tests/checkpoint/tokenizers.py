"""Small tokenizers of the kinds that have no tokenizer.json, by the name of their class."""

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece

from classwire_server.checkpoint.loading import Checkpoint, load_checkpoint
from classwire_server.config.server_config import ServerConfig

WORDS = ["good", "bad", "book", "hotel", "the", "was", "very", "clean", "cold", "love", "hate"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORD_PIECES = "\n".join([*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)])

_AMINO_ACIDS = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWC", "<mask>"]
_SUBWORDS = [*WORDS, *LETTERS, *(f"{letter}@@" for letter in LETTERS)]
_FAIRSEQ: Mapping[str, str] = {
    "vocab.txt": "".join(f"{word} 1\n" for word in _SUBWORDS),
    "bpe.codes": "o k</w> 1\ni t</w> 1\n",
}


class Kind(NamedTuple):
    """The files of a tokenizer, and what its tokenizer_config.json says."""

    files: Mapping[str, str]
    config: Mapping[str, Any]


PYTHON = {
    "BertweetTokenizer": Kind(_FAIRSEQ, {"normalization": True}),
    "PhobertTokenizer": Kind(_FAIRSEQ, {}),
    "BertJapaneseTokenizer": Kind(
        {"vocab.txt": WORD_PIECES}, {"word_tokenizer_type": "basic", "do_lower_case": True}
    ),
    "EsmTokenizer": Kind({"vocab.txt": "\n".join(_AMINO_ACIDS)}, {}),
    "ByT5Tokenizer": Kind({}, {"extra_ids": 0}),
    "PerceiverTokenizer": Kind({}, {}),
}
"""Tokenizers that are written in Python."""

SENTENCEPIECE = {
    "AlbertTokenizer": "spiece.model",
    "XLMRobertaTokenizer": "sentencepiece.bpe.model",
    "CamembertTokenizer": "sentencepiece.bpe.model",
    "DebertaV2Tokenizer": "spm.model",
    "T5Tokenizer": "spiece.model",
}
"""Tokenizers whose only file may be a sentencepiece model, and its name."""


def sentencepiece_model() -> bytes:
    """Train a sentencepiece model on the words."""
    sentences = (f"{a} {b} {c}" for a in WORDS for b in WORDS for c in ("a", "not", "it"))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=3,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
        minloglevel=2,
    )
    return model.getvalue()


def put_tokenizer(
    bert: Path, folder: Path, kind: str, files: Mapping[str, str | bytes], **config: Any
) -> Path:
    """Write a checkpoint with the model of `bert` and another tokenizer into a new folder."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(bert / name, folder)
    config_file = json.dumps({"tokenizer_class": kind, "model_max_length": 64} | config)
    for name, content in {**files, "tokenizer_config.json": config_file}.items():
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
    return folder


def load(folder: Path, **settings: Any) -> Checkpoint:
    """Load a folder as a worker does."""
    config = ServerConfig(model=(f"model={folder}",), **settings)
    checkpoint, *_ = load_checkpoint(config.sources[0], config)
    return checkpoint
