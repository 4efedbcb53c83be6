"""The longest text that a checkpoint's config, tokenizer and position table allow."""

import sys
from typing import Any

FALLBACK_MAX_TOKENS = 512
"""The limit for checkpoints whose tokenizer and config name none."""

_UNKNOWN = 1 << 24
"""Larger than any limit: transformers writes 1e30 for "unknown"."""
_NAMES = (
    "max_position_embeddings",
    "max_encoder_position_embeddings",
    "max_source_positions",
    "max_sequence_length",
    "max_seq_len",
    "n_ctx",
    "seq_length",
)
"""The names under which configs of transformers keep the number of positions."""


def token_limit(model: Any, tokenizer: Any, wanted_tokens: int) -> int:
    """The largest number of tokens of a text, special tokens included.

    `wanted_tokens` is the user's own limit, 0 for none. The files may be wrong, so a long text, cut
    at the limit, is tried when the model starts.
    """
    limits = [wanted_tokens] if wanted_tokens else []
    if tokenizer.model_max_length < _UNKNOWN:
        limits.append(tokenizer.model_max_length)
    config = model.config.get_text_config()
    for name in _NAMES:
        positions = getattr(config, name, None)
        if isinstance(positions, int) and positions > 0:
            limits.append(positions - first_position(model))
            break
    return int(min(limits, default=FALLBACK_MAX_TOKENS))


def first_position(model: Any) -> int:
    """The position id of a text's first token: 0, or the padding id plus 1 in RoBERTa's kind.

    These models count positions with `create_position_ids_from_input_ids`, which is a method of
    their embeddings or a function of their module.
    """
    embeddings: Any = getattr(model.base_model, "embeddings", None)
    if embeddings is None:
        return 0
    owners = (embeddings, sys.modules[type(embeddings).__module__])
    if any(hasattr(owner, "create_position_ids_from_input_ids") for owner in owners):
        return int(embeddings.padding_idx) + 1
    return 0
