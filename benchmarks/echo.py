"""A server that answers without parsing, to measure grpcio's own cost. Prints its address.

    python -m benchmarks.echo [--pause-s SECONDS]

It answers unary calls after a pause, in which the processor may sleep as during a forward pass.
It serves the paths of ClassifyService, so that the same load runs against both. Each request gets
the same bytes; a stream's message of n items gets a message of n results.
"""

import argparse
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from classwire.v1 import classwire_pb2 as pb

from .load import BATCH_TEXTS, STREAM_ITEMS

RPC_THREADS = 64


def _classification() -> pb.Classification:
    scores = [pb.LabelScore(label=f"{n} stars", label_id=n, score=0.2) for n in range(5)]
    return pb.Classification(scores=scores, token_count=16)


def _results(items: int) -> bytes:
    outcome = pb.Outcome(classification=_classification())
    results = [pb.StreamResult(id="any", outcome=outcome)] * items
    return pb.StreamClassifyResponse(
        results=pb.StreamResults(results=results, model=_MODEL, timing=_TIMING)
    ).SerializeToString()


_MODEL = pb.ModelRef(name="echo", fingerprint="0" * 64, precision=pb.PRECISION_FLOAT32)
_TIMING = pb.Timing(tokenize_us=100, queue_us=100, inference_us=1_000, total_us=1_500)
_ANSWER = pb.ClassifyResponse(result=_classification(), model=_MODEL, timing=_TIMING)
_OUTCOMES = [pb.Outcome(classification=_classification())] * BATCH_TEXTS
_BATCH = pb.BatchClassifyResponse(outcomes=_OUTCOMES, model=_MODEL, timing=_TIMING)
_STARTED = pb.StreamClassifyResponse(
    started=pb.StreamStarted(model=_MODEL, window_items=256, max_items_per_message=64)
).SerializeToString()
_LARGE_MESSAGE_BYTES = 512
"""A size between a message of one item and one of STREAM_ITEMS, to tell them apart."""


def _always(answer: bytes, pause_s: float) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
        if pause_s:
            time.sleep(pause_s)
        return answer

    return handle


def _stream(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    one, many = _results(1), _results(STREAM_ITEMS)
    for _ in itertools.islice(requests, 1):
        yield _STARTED
    for request in requests:
        yield many if len(request) > _LARGE_MESSAGE_BYTES else one


def main() -> None:
    """Serve until the process ends."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pause-s", type=float, default=0.0)
    pause_s = parser.parse_args().pause_s
    server = grpc.server(ThreadPoolExecutor(RPC_THREADS))
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Classify": grpc.unary_unary_rpc_method_handler(
            _always(_ANSWER.SerializeToString(), pause_s)
        ),
        "BatchClassify": grpc.unary_unary_rpc_method_handler(
            _always(_BATCH.SerializeToString(), pause_s)
        ),
        "StreamClassify": grpc.stream_stream_rpc_method_handler(_stream),
    }
    service = grpc.method_handlers_generic_handler("classwire.v1.ClassifyService", handlers)
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    print("serving", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
