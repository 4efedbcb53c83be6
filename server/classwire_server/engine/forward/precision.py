"""Conversion of a float32 model's weights to another precision."""

import torch
from transformers import PreTrainedModel

from classwire_server.engine import Precision

from .int8 import halve, quantize
from .prepacked import is_worthwhile, prepack


def convert(model: PreTrainedModel, precision: Precision) -> None:
    """Convert the weights of a float32 model to a precision, in place, once.

    For float32 itself it reorders them where that is faster. Raises ValueError for int8, and leaves
    the model as it is, where torch has no exact integer products.
    """
    if precision is Precision.INT8:
        quantize(model)
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()  # else the checkpoint's file stays mapped
    elif precision is not Precision.FLOAT32:
        halve(model, getattr(torch, precision.value))
    elif model.device.type == "cpu" and is_worthwhile():
        prepack(model)
