"""CTranslate2, which removes padding and quantizes by itself.

Its converter needs transformers 4 and torch. This module fills its specification from the
checkpoint's weights, and computes the classifier after the pooled output in NumPy.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec
from safetensors.numpy import load_file

from .exchange import Exchange, Ids
from .model import Division, Model

Weights = Mapping[str, np.ndarray]


def version() -> str:
    """Return the version in words."""
    return str(ctranslate2.__version__)


def has(precision: str) -> bool:
    """Whether this processor has instructions for the precision, by CTranslate2's account."""
    return precision in ctranslate2.get_supported_compute_types("cpu")


def convert(exchange: Exchange, folder: Path, precision: str) -> None:
    """Write the model in CTranslate2's form. It quantizes when it loads."""
    target = folder / "ctranslate2"
    if target.exists():
        return
    spec = _specification(
        json.loads((Path(exchange.checkpoint) / "config.json").read_text(encoding="utf-8")),
        _weights(exchange),
    )
    spec.validate()
    target.mkdir()
    spec.save(str(target))


def load(exchange: Exchange, folder: Path, precision: str, division: Division) -> Model:
    """Return the model; each lane is a worker of CTranslate2."""
    encoder = ctranslate2.Encoder(
        str(folder / "ctranslate2"),
        compute_type=precision,
        inter_threads=division.lanes,
        intra_threads=division.threads,
    )
    weights = _weights(exchange)
    classifier, bias = weights["classifier.weight"], weights["classifier.bias"]

    def run(batch: Sequence[Ids]) -> np.ndarray:
        pooled = np.asarray(encoder.forward_batch(batch).pooler_output)  # (texts, hidden)
        logits: np.ndarray = pooled.astype(np.float32) @ classifier.T + bias
        return logits

    return Model(run)


def _weights(exchange: Exchange) -> dict[str, np.ndarray]:
    stored = load_file(Path(exchange.checkpoint) / "model.safetensors")
    return {name: weights.astype(np.float32) for name, weights in stored.items()}


def _specification(
    config: Mapping[str, int], weights: Weights
) -> transformer_spec.TransformerEncoderModelSpec:
    encoder = transformer_spec.TransformerEncoderSpec(
        config["num_hidden_layers"],
        config["num_attention_heads"],
        pre_norm=False,
        activation=common_spec.Activation.GELU,
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    encoder.scale_embeddings = False
    spec = transformer_spec.TransformerEncoderModelSpec(
        encoder, pooling_layer=True, pooling_activation=common_spec.Activation.Tanh
    )
    base = "bert.embeddings"
    encoder.embeddings[0].weight = weights[f"{base}.word_embeddings.weight"]
    encoder.embeddings[1].weight = weights[f"{base}.token_type_embeddings.weight"]
    encoder.position_encodings.encodings = weights[f"{base}.position_embeddings.weight"]
    _normalize(encoder.layernorm_embedding, weights, f"{base}.LayerNorm")
    _linear(spec.pooler_dense, weights, "bert.pooler.dense")
    for number, layer in enumerate(encoder.layer):
        base = f"bert.encoder.layer.{number}"
        queries_keys_values, output = layer.self_attention.linear
        own = [f"{base}.attention.self.{name}" for name in ("query", "key", "value")]
        _linear(queries_keys_values, weights, *own)
        _linear(output, weights, f"{base}.attention.output.dense")
        _normalize(layer.self_attention.layer_norm, weights, f"{base}.attention.output.LayerNorm")
        _linear(layer.ffn.linear_0, weights, f"{base}.intermediate.dense")
        _linear(layer.ffn.linear_1, weights, f"{base}.output.dense")
        _normalize(layer.ffn.layer_norm, weights, f"{base}.output.LayerNorm")
    spec.register_vocabulary([str(number) for number in range(config["vocab_size"])])
    spec.config.unk_token = "0"
    spec.config.layer_norm_epsilon = config["layer_norm_eps"]
    return spec


def _linear(spec: common_spec.LinearSpec, weights: Weights, *names: str) -> None:
    spec.weight = np.concatenate([weights[f"{name}.weight"] for name in names])
    spec.bias = np.concatenate([weights[f"{name}.bias"] for name in names])


def _normalize(spec: common_spec.LayerNormSpec, weights: Weights, name: str) -> None:
    spec.gamma, spec.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]
