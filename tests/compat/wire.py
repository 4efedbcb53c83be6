"""The calls of the sweep: each gives scores, or an error, for every text of a type."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from tests.admin.operator import Operator, refusal
from tests.parity.wire import batch_outcomes, stream_outcomes

CALL_S = 20.0
LOAD_S = 180.0
LAYOUTS: Mapping[int, str] = {pb.LAYOUT_PACKED: "packed", pb.LAYOUT_PADDED: "padded"}

Answer = Mapping[str, Any]
"""`scores` in the order of the label ids and `labels`, or `error`."""


def observe(target: str, admin_target: str, name: str, folder: str, texts: Any) -> dict[str, Any]:
    """Load a model into the running server, classify the texts by every kind of call, unload it.

    Returns its layout, precision and limit, and `answers` by the kind of call; or `load_error`.
    """
    with grpc.insecure_channel(target) as channel, grpc.insecure_channel(admin_target) as admin:
        operator = Operator(admin, timeout_s=LOAD_S)
        try:
            operator.load(name, folder)
        except grpc.RpcError as error:
            return {"load_error": _refused(error).replace(f"{folder}: ", "")}
        try:
            model = ModelServiceStub(channel).GetModel(pb.GetModelRequest(name=name)).model
            inputs = [pb.TextInput(text=t["text"], text_pair=t["text_pair"]) for t in texts]
            return {
                "layout": LAYOUTS.get(model.engine.layout, ""),
                "precision": pb.Precision.Name(model.precision).removeprefix("PRECISION_").lower(),
                "max_tokens": model.max_tokens,
                "label_agreement": model.deviation.label_agreement,
                "answers": {kind: way(channel, inputs, name) for kind, way in WAYS.items()},
            }
        finally:
            operator.unload(name)


def _alone(channel: grpc.Channel, inputs: Sequence[pb.TextInput], model: str) -> list[Answer]:
    classify = ClassifyServiceStub(channel).Classify

    def answer(text: pb.TextInput) -> Answer:
        try:
            request = pb.ClassifyRequest(input=text, model=model)
            return _scores(classify(request, timeout=CALL_S).result)
        except grpc.RpcError as error:
            return {"error": _refused(error)}

    return [answer(text) for text in inputs]


def _in_a_batch(channel: grpc.Channel, inputs: Sequence[pb.TextInput], model: str) -> list[Answer]:
    try:
        return [*map(_outcome, batch_outcomes(channel, inputs, model))]
    except grpc.RpcError as error:
        return [{"error": _refused(error)}] * len(inputs)


def _in_a_stream(channel: grpc.Channel, inputs: Sequence[pb.TextInput], model: str) -> list[Answer]:
    found: dict[int, Answer] = {}
    ended = "the stream ended without an answer"
    try:
        for index, outcome in stream_outcomes(channel, inputs, model):
            found[index] = _outcome(outcome)
    except grpc.RpcError as error:
        ended = _refused(error)
    return [found.get(index, {"error": ended}) for index in range(len(inputs))]


WAYS: Mapping[str, Callable[[grpc.Channel, Sequence[pb.TextInput], str], list[Answer]]] = {
    "unary": _alone,
    "batch": _in_a_batch,
    "stream": _in_a_stream,
}


def _outcome(outcome: pb.Outcome) -> Answer:
    if outcome.HasField("error"):
        return {"error": f"{outcome.error.reason}: {outcome.error.message}"}
    return _scores(outcome.classification)


def _scores(found: pb.Classification) -> Answer:
    ordered = sorted(found.scores, key=lambda each: each.label_id)
    return {"scores": [each.score for each in ordered], "labels": [each.label for each in ordered]}


def _refused(error: Any) -> str:
    try:
        _, reason, message, metadata = refusal(error)
    except KeyError:  # gRPC's own error has no details
        return f"{error.code().name}: {error.details()}"
    return f"{reason}: {metadata.get('problem') or message}"
