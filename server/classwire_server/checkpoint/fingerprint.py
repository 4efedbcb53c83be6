"""The fingerprint of a checkpoint: one hash over everything its scores depend on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_CONFIG_KEYS_LEFT_OUT = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
_TOKENIZER_KEYS_LEFT_OUT = ("truncation", "padding")


def fingerprint(
    config: Mapping[str, Any], tokenizer: Mapping[str, Any], weights: Mapping[str, Any]
) -> str:
    """SHA-256, 64 hexadecimal digits, in the canonical form that `Model.fingerprint` documents.

    `config` is config.json as stored, `tokenizer` is tokenizer.json or the description of a Python
    tokenizer, `weights` are float32 CPU tensors by name. The result does not depend on the
    checkpoint's location, the format of its weights, or the version that wrote it.
    """
    digest = hashlib.sha256(b"classwire-fingerprint-v1\n")
    digest.update(_canonical(config, _CONFIG_KEYS_LEFT_OUT))
    digest.update(_canonical(tokenizer, _TOKENIZER_KEYS_LEFT_OUT))
    for name in sorted(weights, key=str.encode):
        values = weights[name].detach().float().contiguous().numpy()
        shape = "x".join(map(str, values.shape))
        digest.update(f"{name} {shape}\n".encode())
        digest.update(values.astype("<f4", copy=False).data)  # no copy: embeddings are large
    return digest.hexdigest()


def _canonical(document: Mapping[str, Any], left_out: tuple[str, ...]) -> bytes:
    kept = {key: value for key, value in document.items() if key not in left_out}
    return (
        json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
    )
