"""A float32 model with the weights that a precision computes from."""

import torch
from transformers import PreTrainedModel

from classwire_server.engine import Precision

from .int8 import halve, quantize
from .prepacked import is_worthwhile, prepack


def convert(model: PreTrainedModel, precision: Precision) -> None:
    """Turn the weights of a float32 model into those that a precision computes from, in place.

    For float32 itself they are reordered, where that is faster. No model is converted twice. Raises
    ValueError, the model untouched, where torch has no exact integer products.
    """
    if precision is Precision.INT8:
        quantize(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # or the checkpoint's file would stay mapped
    elif precision is not Precision.FLOAT32:
        halve(model, getattr(torch, precision.value))
    elif model.device.type == "cpu" and is_worthwhile():
        prepack(model)
