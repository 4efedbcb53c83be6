"""Tiny random checkpoints of every architecture, with real tokenizers."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import masking_utils

PACKS = hasattr(masking_utils, "create_bidirectional_mask")
"""Whether this transformers lets the attention of encoders be replaced, as versions from 5.0 do."""

STARS = ("1 star", "2 stars", "3 stars", "4 stars", "5 stars")
MAX_TOKENS = 512

_CORPUS = [
    "I really love this book, and the one before it was good as well.",
    "The hotel room was clean but the breakfast was cold and the staff rude.",
    "Terrible software: it crashed twice a day and lost all of my work!",
    "It's fine, I suppose; nothing special. 1234567890 €",
    "Das Buch ist gut. El libro es bueno. Le livre est bon. 这本书很好",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz",
]
_VOCABULARY_SIZE = 400
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def make_checkpoint(
    architecture: str,
    folder: Path,
    *,
    labels: tuple[str, ...] = STARS,
    problem_type: str | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    fill: Callable[[str, torch.Tensor], object] | None = None,
    **config: Any,
) -> Path:
    """Write a checkpoint into `folder`, and return it.

    `architecture` is a key of ARCHITECTURES. `fill` sets each weight, by its name; by default
    weights are random, and large enough that every token matters.
    """
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, model_config, model_class = ARCHITECTURES[architecture]()
    model_config.id2label = dict(enumerate(labels))
    model_config.label2id = {label: index for index, label in enumerate(labels)}
    model_config.problem_type = problem_type
    model_config.vocab_size = len(tokenizer)
    for key, value in config.items():
        setattr(model_config, key, value)
    model = model_class(model_config).eval()
    for name, parameter in model.named_parameters():
        (fill or _fill)(name, parameter)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _fill(name: str, parameter: torch.Tensor) -> None:
    if parameter.dim() > 1:
        torch.nn.init.normal_(parameter, std=deviation(name, parameter))


def deviation(name: str, parameter: torch.Tensor) -> float:
    """Standard deviation of random weights. Products get more than keeps the variance, so that
    tokens mix.
    """
    if "embeddings" in name:
        return 0.5 if "position" in name or "token_type" in name else 1.0
    gain = 4.0 if "att" in name else 1.5
    return float(gain / parameter.shape[1] ** 0.5)


def _words_and_letters(pattern: str) -> tuple[list[str], list[str]]:
    """The words and letters of a vocabulary. Trainers would build another one in every process."""
    words = {word for text in _CORPUS for word in re.findall(pattern, text)}
    return sorted(words), sorted({letter for word in words for letter in word})


def _word_piece(model: str = "Bert") -> Any:
    words, letters = _words_and_letters(r"\w+|[^\w\s]")
    pieces = [*words, *letters, *(f"##{letter}" for letter in letters)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    known = dict.fromkeys([*special, *(piece.lower() for piece in pieces)])
    with tempfile.TemporaryDirectory() as folder:  # versions 4 and 5 of transformers read this file
        Path(folder, "vocab.txt").write_text("\n".join(known), encoding="utf-8")
        kind: Any = getattr(transformers, f"{model}TokenizerFast")
        return kind.from_pretrained(folder, model_max_length=MAX_TOKENS)


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _fast(tokenizer: Tokenizer, **special: str) -> Any:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )


def _bert() -> Any:
    config = transformers.BertConfig(**_SIZES, max_position_embeddings=MAX_TOKENS)
    return _word_piece(), config, transformers.BertForSequenceClassification


def _minilm() -> Any:
    sizes = {**_SIZES, "hidden_size": 48, "num_attention_heads": 12}
    config = transformers.BertConfig(**sizes, max_position_embeddings=MAX_TOKENS)
    return _word_piece(), config, transformers.BertForSequenceClassification


def _roberta() -> Any:
    tokenizer = _byte_level()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    config = transformers.RobertaConfig(
        **_SIZES, max_position_embeddings=MAX_TOKENS + 2, type_vocab_size=1
    )
    wrapped = _fast(
        tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>",
    )  # fmt: skip
    return wrapped, config, transformers.RobertaForSequenceClassification


def _xlm_roberta() -> Any:
    words, letters = _words_and_letters(r"\S+")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = dict.fromkeys([*(f"\u2581{word}" for word in words), "\u2581", *letters])
    vocabulary = [(piece, 0.0) for piece in special]
    vocabulary += [(piece, -2.0 if len(piece) > 1 else -6.0) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    config = transformers.XLMRobertaConfig(
        **_SIZES, max_position_embeddings=MAX_TOKENS + 2, type_vocab_size=1
    )
    wrapped = _fast(
        tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>",
    )  # fmt: skip
    return wrapped, config, transformers.XLMRobertaForSequenceClassification


def _distilbert() -> Any:
    config = transformers.DistilBertConfig(
        dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=MAX_TOKENS
    )
    return _word_piece("DistilBert"), config, transformers.DistilBertForSequenceClassification


def _electra() -> Any:
    config = transformers.ElectraConfig(
        **_SIZES, embedding_size=16, max_position_embeddings=MAX_TOKENS
    )
    return _word_piece(), config, transformers.ElectraForSequenceClassification


def _modernbert(pooling: Any = "cls") -> Any:
    tokenizer = _byte_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    config = transformers.ModernBertConfig(
        **{**_SIZES, "num_hidden_layers": 4},
        max_position_embeddings=MAX_TOKENS,
        local_attention=16,
        layer_types=["full_attention", "sliding_attention"] * 2,
        classifier_pooling=pooling,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        cls_token_id=0,
        sep_token_id=2,
    )
    wrapped = _fast(
        tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>", sep_token="</s>",
        mask_token="<mask>",
    )  # fmt: skip
    return wrapped, config, transformers.ModernBertForSequenceClassification


def _modernbert_mean() -> Any:
    return _modernbert("mean")


def _xlnet() -> Any:
    config = transformers.XLNetConfig(d_model=32, n_layer=2, n_head=4, d_inner=64)
    config.pad_token_id = 0
    return _word_piece(), config, transformers.XLNetForSequenceClassification


def _gpt2() -> Any:
    tokenizer = _byte_level()
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=4, n_positions=MAX_TOKENS, pad_token_id=1
    )
    return _fast(tokenizer, pad_token="<pad>"), config, transformers.GPT2ForSequenceClassification


def _sentence_ends(pair: str) -> Any:
    """A tokenizer whose single texts end with an end token."""
    tokenizer = _byte_level()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _fast(tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def _bart() -> Any:
    config = transformers.BartConfig(
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_ffn_dim=64, decoder_ffn_dim=64,
        encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=MAX_TOKENS,
    )  # fmt: skip
    tokenizer = _sentence_ends("<s> $A </s> </s> $B </s>")
    return tokenizer, config, transformers.BartForSequenceClassification


def _mpnet() -> Any:
    config = transformers.MPNetConfig(**_SIZES, max_position_embeddings=MAX_TOKENS + 2)
    tokenizer = _sentence_ends("<s> $A </s> </s> $B </s>")
    return tokenizer, config, transformers.MPNetForSequenceClassification


def _phi3() -> Any:
    factors = [float(n + 1) for n in range(4)]
    config = transformers.Phi3Config(
        **_SIZES,
        max_position_embeddings=MAX_TOKENS,
        original_max_position_embeddings=24,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10_000.0, "original_max_position_embeddings": 24,
            "short_factor": [1.0] * 4, "long_factor": factors,
        },
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )  # fmt: skip
    return _sentence_ends("<s> $A $B </s>"), config, transformers.Phi3ForSequenceClassification


def _big_bird() -> Any:
    config = transformers.BigBirdConfig(
        **_SIZES,
        max_position_embeddings=MAX_TOKENS,
        attention_type="block_sparse",
        block_size=4,
        num_random_blocks=1,
    )
    return _word_piece(), config, transformers.BigBirdForSequenceClassification


def _deberta_v2() -> Any:
    attention: dict[str, Any] = {
        "relative_attention": True,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    }
    sizes = {**_SIZES, "num_hidden_layers": 3}
    config = transformers.DebertaV2Config(
        **sizes, **attention, max_position_embeddings=MAX_TOKENS, type_vocab_size=0
    )
    return _word_piece(), config, transformers.DebertaV2ForSequenceClassification


ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "bert": _bert,
    "minilm": _minilm,
    "roberta": _roberta,
    "xlm-roberta": _xlm_roberta,
    "distilbert": _distilbert,
    "electra": _electra,
    "modernbert": _modernbert,
    "modernbert-mean": _modernbert_mean,
    "xlnet": _xlnet,
    "deberta-v2": _deberta_v2,
    "gpt2": _gpt2,
    "bart": _bart,
    "mpnet": _mpnet,
    "phi3": _phi3,
    "big-bird": _big_bird,
}
"""The last two change while they run: Phi-3's frequencies follow the length of the text, and
BigBird's attention is sparse for long texts only.
"""
