"""OpenVINO, with int8 by nncf: weights and activations in int8, scales from calibration texts."""

import threading
from collections.abc import Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino

from .exchange import Exchange, Ids
from .model import Division, Model, padded

PRECISIONS = {"float32": "FP32", "bfloat16": "BF16", "int8": "INT8"}
"""The names of precisions among the processor's capabilities, as OpenVINO reports them."""


def version() -> str:
    """Return the versions of the packages in words."""
    return f"{openvino.get_version().partition('-')[0]}, nncf {nncf.__version__}"


def has(precision: str) -> bool:
    """Whether this processor has fast instructions for the precision, by OpenVINO's account."""
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return PRECISIONS[precision] in capabilities


def convert(exchange: Exchange, folder: Path, precision: str) -> None:
    """Write the model in OpenVINO's form, for `load`."""
    plain = folder / "openvino.xml"
    if not plain.exists():
        openvino.save_model(openvino.convert_model(exchange.onnx), plain, compress_to_fp16=False)
    quantized = folder / "openvino-int8.xml"
    if precision == "int8" and not quantized.exists():
        inputs = nncf.Dataset([_inputs(*padded([text])) for text in exchange.calibration])
        model = nncf.quantize(
            openvino.Core().read_model(plain),
            inputs,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(exchange.calibration),
        )
        openvino.save_model(model, quantized, compress_to_fp16=False)


def load(exchange: Exchange, folder: Path, precision: str, division: Division) -> Model:
    """Return the model; each lane is a stream of OpenVINO."""
    options: dict[str, object] = {
        "NUM_STREAMS": division.lanes,
        "INFERENCE_NUM_THREADS": division.lanes * division.threads,
        "PERFORMANCE_HINT": "THROUGHPUT" if division.lanes > 1 else "LATENCY",
    }
    if precision != "int8":  # in int8, OpenVINO chooses how to compute the rest
        options["INFERENCE_PRECISION_HINT"] = {"float32": "f32", "bfloat16": "bf16"}[precision]
    name = "openvino-int8.xml" if precision == "int8" else "openvino.xml"
    compiled = openvino.Core().compile_model(folder / name, "CPU", options)
    requests = threading.local()

    def run(batch: Sequence[Ids]) -> np.ndarray:
        if not hasattr(requests, "of_thread"):
            requests.of_thread = compiled.create_infer_request()
        outputs = requests.of_thread.infer(_inputs(*padded(batch)), share_inputs=True)
        logits: np.ndarray = outputs[0]
        return logits

    return Model(run)


def _inputs(ids: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    return {"input_ids": ids, "attention_mask": mask}
