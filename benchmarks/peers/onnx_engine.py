"""ONNX Runtime, which fuses operators when it loads a model, and its dynamic int8."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic

from .exchange import Exchange, Ids
from .model import Division, Model, padded

INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8")


def version() -> str:
    """Return the version in words."""
    return str(onnxruntime.__version__)


def has(precision: str) -> bool:
    """Whether it computes in the precision: on CPUs it has no products in bfloat16."""
    return precision != "bfloat16"


def convert(exchange: Exchange, folder: Path, precision: str) -> None:
    """Write the int8 model for `load`."""
    quantized = folder / "onnxruntime-int8.onnx"
    if precision == "int8" and not quantized.exists():
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        quantize_dynamic(
            exchange.onnx,
            quantized,
            per_channel=True,
            # Without such instructions pairs of products are summed in 16 bits, which overflow.
            reduce_range=not any(name in flags for name in INSTRUCTIONS),
            weight_type=QuantType.QInt8,
        )


def load(exchange: Exchange, folder: Path, precision: str, division: Division) -> Model:
    """Return the model; each lane is a thread that calls it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = division.threads
    model = folder / "onnxruntime-int8.onnx" if precision == "int8" else exchange.onnx
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(batch: Sequence[Ids]) -> np.ndarray:
        ids, mask = padded(batch)
        logits: np.ndarray = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return logits

    return Model(run)
