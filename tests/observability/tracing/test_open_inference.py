"""The spans of Open Inference Protocol calls."""

import threading
from collections.abc import Iterator
from typing import Any

from classwire_server.open_inference import inference_pb2 as pb
from tests.contract.engines import PATIENCE_S
from tests.observability.tracing.conftest import Caller, Spans, Start, facts, id_of, linked, parent
from tests.open_inference.wire import request

SERVICE = "inference.GRPCInferenceService"
CODEC: Any = {"request_serializer": pb.ModelInferRequest.SerializeToString}


def test_a_call(traced: Start, spans: Spans) -> None:
    """A call has the same spans as a Classify call."""
    caller = Caller()
    call = traced().channel.unary_unary(f"/{SERVICE}/ModelInfer", **CODEC)
    call(request("good", "book"), timeout=PATIENCE_S, metadata=caller.metadata)

    span, infer = spans.one(caller, "/ModelInfer"), spans.one(caller, "infer")
    assert (parent(span), parent(infer)) == (caller.span_id, id_of(span))
    assert linked(spans.one(caller, "queue")) == {id_of(infer)}
    assert (facts(span)["rpc.method"], facts(span)["texts"]) == (f"{SERVICE}/ModelInfer", 2)


def test_a_stream(traced: Start, spans: Spans) -> None:
    """Each request of a stream is a message. A rejected one ends with its reason."""
    caller = Caller()
    call = traced().channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", **CODEC)
    answered = threading.Semaphore()  # one at a time: a shared pass would have one span

    def requests() -> Iterator[pb.ModelInferRequest]:
        for texts in (["good"], ["good", " "], ["book"]):
            answered.acquire(timeout=PATIENCE_S)
            yield request(*texts)

    answers = 0
    for _ in call(requests(), timeout=PATIENCE_S, metadata=caller.metadata):
        answers += 1
        answered.release()
    assert answers == 3

    good, rejected, also_good = spans.of(caller, "/ModelStreamInfer message", 3)
    assert {parent(each) for each in (good, rejected)} == {id_of(spans.one(caller, "StreamInfer"))}
    assert (facts(rejected)["reason"], facts(rejected)["failed_texts"]) == ("EMPTY_TEXT", 1)
    assert "reason" not in facts(also_good)
    assert {parent(infer) for infer in spans.of(caller, "infer", 2)} == {
        id_of(good),
        id_of(also_good),
    }
