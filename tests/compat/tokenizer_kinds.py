"""A tokenizer for each model type: of the type's own class, with a small vocabulary.

Where the class can't be made from a small vocabulary here, or does not take plain text, another
one stands in, with the special tokens and template of the type.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers.models.auto.tokenization_auto import (
    TOKENIZER_MAPPING_NAMES,
    tokenizer_class_from_name,
)

from . import vocabularies
from .python_tokenizers import FROM_FILES


@dataclass(frozen=True)
class Manner:
    """How a byte-level tokenizer frames a text and a pair; `special` has its tokens by role.

    In a template, {bos}, {cls} and so on stand for the tokens of these roles.
    """

    single: str
    pair: str
    special: Mapping[str, str]


BARE = Manner("$A", "$A $B:1", {"bos": "<|endoftext|>", "eos": "<|endoftext|>"})
PADDED = Manner("$A", "$A $B:1", {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"})
OPENED = Manner(
    "{bos} $A", "{bos} $A {bos}:1 $B:1",
    {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "pad": "<|end_of_text|>"},
)  # fmt: skip
FRAMED = Manner(
    "{cls} $A {sep}", "{cls} $A {sep} $B {sep}",
    {"cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]"},
)  # fmt: skip
_XLM = Manner(
    "{bos} $A {sep}", "{bos} $A {sep} $B {sep}",
    {
        "bos": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>", "cls": "</s>",
        "mask": "<special1>",
    },
)  # fmt: skip
_EUROBERT = Manner(
    "{bos} $A {eos}", "{bos} $A {eos} $B {eos}",
    {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>", "pad": "<|pad|>", "mask": "<|mask|>"},
)  # fmt: skip
_GLM = Manner(
    "[gMASK] <sop> $A", "[gMASK] <sop> $A $B:1",
    {"eos": "<|endoftext|>", "pad": "<|endoftext|>", "mask": "[gMASK]", "bos": "<sop>"},
)  # fmt: skip
_BIOGPT = Manner(
    "{sep} $A", "{sep} $A {sep} $B:1",
    {"bos": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"},
)  # fmt: skip

MANNERS: dict[str, Manner] = {
    "arcee": OPENED,
    "bloom": PADDED,
    "deepseek_v2": OPENED,
    "deepseek_v3": OPENED,
    "eurobert": _EUROBERT,
    "glm": _GLM,
    "glm4": _GLM,
    "ministral3": OPENED,
    "mistral4": OPENED,
    "modernbert": FRAMED,
    "modernbert-decoder": FRAMED,
    "modernvbert": FRAMED,
    "ultrabert": FRAMED,
    "ultravbert": FRAMED,
    "nemotron": OPENED,
}
"""For types without a class of their own; BARE for those that are not here."""

BORROWED: dict[str, str] = {
    "bigbird_pegasus": "PegasusTokenizer",
    "cohere_compass_text": "CohereTokenizer",
    "diffllama": "LlamaTokenizer",
    "helium": "LlamaTokenizer",
    "jamba": "LlamaTokenizer",
    "jetmoe": "LlamaTokenizer",
    "llama": "LlamaTokenizer",
    "minicpm3": "LlamaTokenizer",
    "ministral": "LlamaTokenizer",
    "mistral": "LlamaTokenizer",
    "mixtral": "LlamaTokenizer",
    "nystromformer": "AlbertTokenizer",
    "persimmon": "LlamaTokenizer",
    "phi3": "LlamaTokenizer",
    "phimoe": "LlamaTokenizer",
    "stablelm": "GPTNeoXTokenizer",
    "t5gemma2": "GemmaTokenizer",
    "umt5": "T5Tokenizer",
    "xlm-roberta-xl": "XLMRobertaTokenizer",
    "zamba": "LlamaTokenizer",
    "zamba2": "LlamaTokenizer",
}
"""The class that published checkpoints of a type name, where the library's mapping names none."""

_NEEDS_MOSES = "its tokenizer needs the package sacremoses"
STAND_INS: dict[str, tuple[str | Manner, str]] = {
    "biogpt": (_BIOGPT, _NEEDS_MOSES),
    "flaubert": (_XLM, _NEEDS_MOSES),
    "xlm": (_XLM, _NEEDS_MOSES),
    "layoutlmv2": ("BertTokenizer", "its tokenizer takes words with boxes, not text"),
    "layoutlmv3": ("RobertaTokenizer", "its tokenizer takes words with boxes, not text"),
    "markuplm": ("RobertaTokenizer", "its tokenizer takes nodes with XPaths, not text"),
    "roformer": ("BertTokenizer", "its tokenizer needs the package rjieba"),
    "tapas": ("BertTokenizer", "its tokenizer takes tables, and needs the package pandas"),
}
"""What stands in for the tokenizer of a type, and why."""

_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
FIRST: dict[str, tuple[str, ...]] = {
    "LukeTokenizer": _FAIRSEQ,
    "MPNetTokenizer": ("<s>", "<pad>", "</s>", "[UNK]", "<mask>"),
    "PegasusTokenizer": ("<pad>", "</s>", "<mask_1>", "<mask_2>", "<unk>"),
    "ReformerTokenizer": ("<unk>", "</s>"),
    "RobertaTokenizer": _FAIRSEQ,
}
"""The first tokens of the published vocabularies of a class, where its own default differs."""

_LLAMA = {"add_bos_token": True, "pad_token": "</s>"}
OPTIONS: dict[str, dict[str, Any]] = {
    "LlamaTokenizer": _LLAMA,
    "GemmaTokenizer": {"add_bos_token": True},
    "CohereTokenizer": {"add_bos_token": True},
    "opt": {
        "bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>",
        "add_bos_token": True,
    },
}  # fmt: skip
"""Arguments of a class, or of a type's class, that its published checkpoints name."""


def make_tokenizer(model_type: str, folder: Path) -> tuple[Any, str]:
    """Return a tokenizer for a type, and why another one stands in for its own, else "".

    `folder` gets the vocabulary files that some classes read.
    """
    if model_type in FROM_FILES:
        return FROM_FILES[model_type](folder), ""
    kind: str | Manner | None
    kind, reason = STAND_INS.get(model_type, (None, ""))
    kind = kind or BORROWED.get(model_type) or TOKENIZER_MAPPING_NAMES.get(model_type)
    found = tokenizer_class_from_name(kind) if isinstance(kind, str) else None
    if found is None or found is transformers.PreTrainedTokenizerFast:
        manner = kind if isinstance(kind, Manner) else MANNERS.get(model_type, BARE)
        return byte_level(manner), reason
    options = OPTIONS.get(found.__name__, {}) | OPTIONS.get(model_type, {})
    return of_class(found, **options), reason


def of_class(tokenizer_class: Any, **options: Any) -> Any:
    """Return a Rust tokenizer of a class, with a small vocabulary of the class's kind."""
    first = FIRST.get(tokenizer_class.__name__, ())
    if first and tokenizer_class.model is models.Unigram:
        return tokenizer_class(vocab=vocabularies.unigrams([(token, 0.0) for token in first]))
    state = json.loads(tokenizer_class().backend_tokenizer.to_str())
    model = state["model"]
    if model["type"] == "Unigram":
        scored = [(token, score) for token, score in model["vocab"]]
        return tokenizer_class(vocab=vocabularies.unigrams(scored), **options)
    special = first or sorted(model["vocab"], key=model["vocab"].__getitem__)
    if model["type"] == "WordPiece":
        return tokenizer_class(vocab=vocabularies.word_pieces(special), **options)
    splitting = json.dumps([state["pre_tokenizer"], state["normalizer"]], ensure_ascii=False)
    if "ByteLevel" in splitting:
        vocabulary, merges = vocabularies.byte_pairs(special)
    elif model["end_of_word_suffix"]:
        vocabulary, merges = vocabularies.ended_pairs(special, model["end_of_word_suffix"])
    elif vocabularies.SPACE in splitting:
        vocabulary, merges = vocabularies.spaced_pairs(special)
    else:  # the class brings its whole vocabulary
        return tokenizer_class(**options)
    return tokenizer_class(vocab=vocabulary, merges=merges, **options)


def byte_level(manner: Manner) -> Any:
    """Return a byte-level BPE tokenizer that frames texts in this manner."""
    vocabulary, merges = vocabularies.byte_pairs(dict.fromkeys(manner.special.values()))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=manner.single.format(**manner.special),
        pair=manner.pair.format(**manner.special),
        special_tokens=[(token, vocabulary[token]) for token in set(manner.special.values())],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **{f"{role}_token": token for role, token in manner.special.items()},
    )
