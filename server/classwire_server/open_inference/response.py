"""Texts that have ended -> ModelInferResponse."""

from collections.abc import Sequence
from concurrent.futures import CancelledError

import numpy as np

from classwire.contract.reasons import Reason
from classwire_server.errors import BadLogits, RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.status import request_error
from classwire_server.scoring import ranking
from classwire_server.service.answers import answers_of, record
from classwire_server.service.items import Item
from classwire_server.service.options import default_aggregation

from . import inference_pb2 as pb
from .request import Output
from .tensors import LABEL, SCORES, TEXT, raw_numbers, raw_texts

VERSION = "1"
"""The version of every model."""
OF_ONE_TEXT = (Reason.INTERNAL, Reason.POISON_INPUT)
"""Reasons for which one text fails while the other texts of its request may succeed."""


def raise_first(items: Sequence[Item]) -> None:
    """Raise the error of the first text that has one: it fails the whole request."""
    for place, item in enumerate(items):
        if isinstance(item.error, CancelledError):
            raise item.error
        if item.error is not None:
            raise _with_place(request_error(item.error), place)


def infer_response(
    request_id: str, model: ServedModel, outputs: Sequence[Output], items: Sequence[Item]
) -> pb.ModelInferResponse:
    """The response to a request whose texts have ended; counts what the model says of them.

    Raises the error of the first text that failed. A text whose scores are NaN has failed.
    """
    raise_first(items)
    labels = model.checkpoint.labels
    values = np.empty((0, len(labels)), np.float32)  # (texts, labels)
    if items:
        aggregation = default_aggregation(model)
        _, values = answers_of(items, model.checkpoint.activation, aggregation)
    if values.shape[1] != len(labels):
        raise ValueError(f"{values.shape[1]} logits for {len(labels)} labels")
    if (bad := np.isnan(values).any(axis=1)).any():
        raise _with_place(request_error(BadLogits()), int(bad.argmax()))
    ranked = ranking(values)
    response = pb.ModelInferResponse(
        model_name=model.checkpoint.name, model_version=VERSION, id=request_id
    )
    for output in outputs:
        shape, raw = _output(output, values, ranked, labels)
        datatype = LABEL.datatype if output.classes else output.tensor.datatype
        response.outputs.add(name=output.tensor.name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    record(model, items, values.tolist(), ranked[:, :2].tolist())
    truncated_tokens = sum(item.encoding.truncated_tokens for item in items)
    if truncated_tokens:
        response.parameters["truncated_tokens"].int64_param = truncated_tokens
    return response


def _output(
    output: Output, values: np.ndarray, ranked: np.ndarray, labels: Sequence[str]
) -> tuple[tuple[int, ...], bytes]:
    """The shape and the raw contents of an output."""
    if output.classes:
        best = ranked[:, : output.classes]
        rows = zip(values.tolist(), best.tolist(), strict=True)
        texts = (f"{row[id_]:f}:{id_}:{labels[id_]}" for row, ids in rows for id_ in ids)
        return best.shape, raw_texts(texts)
    if output.tensor is SCORES:
        return values.shape, raw_numbers(values)
    highest = ranked[:, 0]
    if output.tensor is LABEL:
        return highest.shape, raw_texts(labels[id_] for id_ in highest.tolist())
    return highest.shape, raw_numbers(highest.astype(np.int32))


def _with_place(error: RequestError, place: int) -> RequestError:
    """The error with the field in its message: Triton's clients show only the message."""
    field = f"{TEXT.name}[{place}]" if error.reason in OF_ONE_TEXT else error.field
    if not field:
        return error
    return RequestError(
        error.reason, f"{field}: {error.message}", field=field, metadata=error.metadata
    )
