"""Tiny configs: sizes by the names that configs use, and what single types need besides."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import transformers
from transformers import PreTrainedConfig

LABELS = ("one", "two", "three", "four", "five")
POSITIONS = 64
SPARE_ROWS = 8
"""Rows of the embedding table above the tokenizer's ids, as most published checkpoints have."""

SIZES: dict[str, Any] = {
    # widths
    "hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "emb_dim": 32,
    "embedding_size": 32,
    "input_embedding_size": 16,
    "output_embedding_size": 16,
    "intermediate_size": 64,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "ffn_dim": 64,
    "ffn_hidden_size": 64,
    "feed_forward_size": 64,
    "hidden_dim": 64,
    "d_ff": 64,
    "dff": 64,
    "d_inner": 64,
    "word_embed_proj_dim": 32,
    # layers
    "num_hidden_layers": 2,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    # heads
    "num_attention_heads": 4,
    "num_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_kv_heads": 2,
    "head_dim": 8,
    "d_head": 8,
    "d_kv": 8,
    "kv_channels": 8,
    "attention_head_size": 8,
    "query_pre_attn_scalar": 8,
    # latent attention
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "index_n_heads": 2,
    "index_head_dim": 16,
    "index_topk": 16,
    "gated_norm_rank": 8,
    # linear attention and state spaces
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "mamba_d_state": 8,
    "n_mamba_heads": 2,
    "chunk_size": 16,
    "block_size": 4,
    # experts
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    # positions
    "max_position_embeddings": POSITIONS,
    "n_positions": POSITIONS,
    "max_seq_len": POSITIONS,
    "sliding_window": 16,
    "local_attention": 16,
    "window_size": 16,
    # pictures
    "image_size": 32,
    "patch_size": 16,
    "depth": 1,
    "out_hidden_size": 32,
    "num_position_embeddings": 16,
}
"""The value of a field wherever a config has one that is not None."""

_GROUPED_HEADS = {"head_dim": 8, "num_key_value_heads": 2}
_BART = {"decoder_start_token_id": 2, "forced_eos_token_id": 2}
_HYBRIDS = ["linear_attention", "hybrid"] * 2
_HYBRID = ["linear_attention", "full_attention"]

OVERRIDES: dict[str, dict[str, Any]] = {
    "albert": {"embedding_size": 16},
    "axk1": {"num_key_value_heads": 4},
    "axk2": {"num_key_value_heads": 4},
    "bart": _BART,
    "big_bird": {"num_random_blocks": 1},
    "bigbird_pegasus": {"num_random_blocks": 1, "decoder_start_token_id": 2},
    "canine": {
        "num_hash_buckets": 64, "num_hash_functions": 4, "local_transformer_stride": 16,
    },
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10_000.0}
            for kind in ("sliding_attention", "full_attention")
        },
    },
    "convbert": {"head_ratio": 2, "conv_kernel_size": 3},
    "deepseek_v3": {"num_key_value_heads": 4},
    "deepseek_v2": {"num_experts_per_tok": 2, "num_key_value_heads": 4},
    "doge": {"keep_window_size": 64},
    "electra": {"embedding_size": 16},
    "esm": {"token_dropout": True},
    "esmc": {"num_key_value_heads": 4},
    "falcon": {"new_decoder_architecture": False},
    "funnel": {"block_sizes": [1, 1]},
    "gemma3": {"mm_tokens_per_image": 4},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "hunyuan_v1_dense": _GROUPED_HEADS,
    "hunyuan_v1_moe": _GROUPED_HEADS,
    "jamba": {
        "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
        "expert_layer_offset": 1, "use_mamba_kernels": False, "mamba_dt_rank": 4,
    },
    "layoutlmv3": {
        "coordinate_size": 5, "shape_size": 6, "input_size": 32, "visual_embed": False,
    },
    "layoutlmv2": {"coordinate_size": 5, "shape_size": 6},
    "lilt": {"hidden_size": 48},
    "longformer": {"attention_window": 16},
    "luke": {"entity_vocab_size": 16, "entity_emb_size": 16},
    "markuplm": {"xpath_unit_hidden_size": 8},
    "mbart": _BART,
    "minicpm3": {"num_key_value_heads": 4, "dim_model_base": 16},
    "ministral": _GROUPED_HEADS,
    "mistral4": {"num_key_value_heads": 4},
    "mobilebert": {"intra_bottleneck_size": 16, "embedding_size": 16, "true_hidden_size": 16},
    "mvp": _BART,
    "nemotron": _GROUPED_HEADS,
    "nystromformer": {"num_landmarks": 64, "segment_means_seq_len": 64},
    "perceiver": {
        "d_latents": 32, "num_latents": 8, "num_self_attends_per_block": 2,
        "num_cross_attention_heads": 4, "num_self_attention_heads": 4,
    },
    "plbart": _BART,
    "reformer": {
        "attn_layers": ["local", "lsh"], "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [16, 16], "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8, "num_buckets": 4, "hash_seed": 0,
        "pad_token_id": 0,
    },
    "roc_bert": {
        "pronunciation_vocab_size": 48, "shape_vocab_size": 48, "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "squeezebert": {"q_groups": 2, "k_groups": 2, "v_groups": 2},
    "qwen3_5_text": {"layer_types": _HYBRID},
    "qwen3_next": {"layer_types": _HYBRID},
    "t5": {"decoder_start_token_id": 0},
    "mt5": {"decoder_start_token_id": 0},
    "umt5": {"decoder_start_token_id": 0},
    "xlnet": {"mem_len": None},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "layers_block_type": _HYBRIDS, "num_hidden_layers": 4, "use_mamba_kernels": False,
        "mamba_dt_rank": 4, "attention_hidden_size": 64, "attention_head_dim": 16,
        "num_key_value_heads": 4,
    },
    "zamba2": {
        "layers_block_type": _HYBRIDS, "num_hidden_layers": 4, "use_mamba_kernels": False,
        "num_key_value_heads": 4,
    },
}  # fmt: skip
"""What a type's config needs besides, by the type of the config it is for."""

_ROLES = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")


def tiny_config(model_type: str, tokenizer: Any) -> PreTrainedConfig:
    """Return the smallest useful config of a type for a tokenizer, with LABELS."""
    rows = len(tokenizer) + SPARE_ROWS
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id", None) for role in _ROLES}
    for role, other in (("bos", "cls"), ("eos", "sep")):
        if ids[f"{role}_token_id"] is None:
            ids[f"{role}_token_id"] = ids[f"{other}_token_id"]
    fields = _fields(model_type, transformers.CONFIG_MAPPING[model_type](), rows, ids)
    fields["id2label"] = dict(enumerate(LABELS))
    fields["label2id"] = {label: index for index, label in enumerate(LABELS)}
    return transformers.CONFIG_MAPPING[model_type](**fields)


def _fields(
    model_type: str, default: PreTrainedConfig, rows: int, ids: Mapping[str, int | None]
) -> dict[str, Any]:
    stored = {field.name: getattr(default, field.name) for field in dataclasses.fields(default)}
    fields = {name: SIZES[name] for name in SIZES if stored.get(name) is not None}
    fields |= {name: rows - SPARE_ROWS for name in stored if _is_picture_token(name)}
    fields |= {name: id_ for name, id_ in ids.items() if name in stored}
    if "vocab_size" in stored:
        fields["vocab_size"] = rows
    for name in default.sub_configs:
        part = getattr(default, name)
        if isinstance(part, PreTrainedConfig):
            fields[name] = {
                **_fields(part.model_type, part, rows, ids),
                "model_type": part.model_type,
            }
    return fields | OVERRIDES.get(model_type, {})


def _is_picture_token(name: str) -> bool:
    media = ("image", "video", "vision_start", "vision_end", "boi", "eoi")
    return name in {f"{each}_token_{end}" for each in media for end in ("id", "index")}
