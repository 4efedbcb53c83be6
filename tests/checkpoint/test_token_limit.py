"""The token limit that a checkpoint's files promise."""

from typing import Any

import pytest
import transformers

from classwire_server.checkpoint.token_limit import FALLBACK_MAX_TOKENS, token_limit

_SIZES: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64,
    "vocab_size": 60,
}  # fmt: skip


class _Unlimited:
    """A tokenizer that names no limit."""

    model_max_length = int(1e30)


def _limit(config: Any, wanted: int = 0) -> int:
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    return token_limit(model, _Unlimited(), wanted)


@pytest.mark.parametrize(
    ("config", "max_tokens"),
    [
        (transformers.RobertaConfig(**_SIZES, max_position_embeddings=130), 128),
        (transformers.MPNetConfig(**_SIZES, max_position_embeddings=130), 128),
        (transformers.LongformerConfig(**_SIZES, max_position_embeddings=130), 128),
        (transformers.IBertConfig(**_SIZES, max_position_embeddings=130), 128),
        (transformers.EsmConfig(**_SIZES, max_position_embeddings=130, pad_token_id=1), 128),
        (
            transformers.LukeConfig(
                **_SIZES, max_position_embeddings=130, entity_vocab_size=9, entity_emb_size=8
            ),
            128,
        ),
        (transformers.BertConfig(**_SIZES, max_position_embeddings=130), 130),
        (transformers.GPT2Config(n_embd=32, n_layer=1, n_head=4, n_positions=130), 130),
        (transformers.MptConfig(d_model=32, n_layers=1, n_heads=4, max_seq_len=130), 130),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_the_position_table(config: Any, max_tokens: int) -> None:
    """The limit is the number of rows that texts can use, under any name, without those that
    RoBERTa's kind skips.
    """
    assert _limit(config) == max_tokens
    assert _limit(config, wanted=50) == 50


def test_a_composite_config() -> None:
    """The limit of a model for texts and images stands in its text config."""
    text = {**_SIZES, "max_position_embeddings": 130, "head_dim": 8, "num_key_value_heads": 4}
    config = transformers.Gemma3TextConfig(**text)
    assert _limit(config) == 130


def test_no_limit() -> None:
    """A model with relative positions and no named limit has the fallback."""
    config = transformers.XLNetConfig(d_model=32, n_layer=1, n_head=4, d_inner=64, vocab_size=60)
    assert _limit(config) == FALLBACK_MAX_TOKENS
