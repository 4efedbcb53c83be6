"""A float32 model in another precision."""

import torch
from transformers import PreTrainedModel

from . import Precision
from .quantization import halve, quantize


def convert(model: PreTrainedModel, precision: Precision) -> None:
    """Turn a float32 model into another precision, in place.

    Raises ValueError, the model untouched, where torch has no exact integer products.
    """
    if precision is Precision.INT8:
        quantize(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # or the checkpoint's file would stay mapped
    elif precision is not Precision.FLOAT32:
        halve(model, getattr(torch, precision.value))
