"""A float32 model in another precision."""

import torch
from transformers import PreTrainedModel

from . import Precision
from .quantization import quantize


def convert(model: PreTrainedModel, precision: Precision) -> None:
    """Turn a float32 model into another precision, in place.

    In bfloat16 and float16 all parameters and activations are of that type; sums inside products,
    softmax and normalisation are torch's own, float32. Raises ValueError where torch has no exact
    integer products.
    """
    if precision is Precision.INT8:
        quantize(model)
    elif precision is not Precision.FLOAT32:
        model.to(getattr(torch, precision.value))
