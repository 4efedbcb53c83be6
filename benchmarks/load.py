"""An instrument that loads a server from its own process.

Every shape of call keeps a number of texts in flight until all are answered. It builds requests
beforehand and parses answers, so it measures the server and the wire. The shapes named after
`Client` use Classwire's client library.
"""

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import grpc

from classwire import Classification, Client
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

from . import checkpoints
from .instrument import serve

BATCH_TEXTS = 64
STREAM_ITEMS = 32
TIMEOUT_S = 600.0
STAGES = ("tokenize", "queue", "inference", "total")
"""Times that the server reports with each answer."""


class Tally:
    """The answers of a run. For use by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the fields below
        self._latencies_s: list[float] = []
        self._timings: list[pb.Timing] = []
        self._batch_texts: list[int] = []
        self._computed_by: Counter[str] = Counter()
        self._failed = 0

    def add(
        self, latencies_s: Sequence[float], model: pb.ModelRef, timing: pb.Timing, failed: int = 0
    ) -> None:
        """Count an answer, with one latency for each of its texts."""
        precision = pb.Precision.Name(model.precision).removeprefix("PRECISION_").lower()
        execution = pb.Execution.Name(model.engine.execution).removeprefix("EXECUTION_").lower()
        with self._lock:
            self._latencies_s += latencies_s
            self._timings.append(timing)
            self._batch_texts.append(timing.batch_texts)
            self._computed_by[f"{precision} {execution}"] += len(latencies_s)
            self._failed += failed

    def sample(self, seconds: float) -> dict[str, Any]:
        """Return JSON: texts answered, seconds, each text's latency, each answer's times, and the
        engines.
        """
        return {
            "texts": len(self._latencies_s),
            "seconds": seconds,
            "latencies_s": self._latencies_s,
            **{
                f"{stage}_s": [getattr(timing, f"{stage}_us") / 1e6 for timing in self._timings]
                for stage in STAGES
            },
            "batch_texts": self._batch_texts,
            "computed_by": dict(self._computed_by),
            "failed": self._failed,
        }


def unary(target: str, texts: Sequence[str], in_flight: int) -> dict[str, Any]:
    """Send one text per call from `in_flight` threads."""
    requests = [pb.ClassifyRequest(input=pb.TextInput(text=text)) for text in texts]

    def call(stub: ClassifyServiceStub, request: pb.ClassifyRequest, tally: Tally) -> None:
        started_s = time.perf_counter()
        answer = stub.Classify(request, timeout=TIMEOUT_S)
        tally.add([time.perf_counter() - started_s], answer.model, answer.timing)

    return _by_threads(target, requests, in_flight, call)


def batch(target: str, texts: Sequence[str], in_flight: int) -> dict[str, Any]:
    """Send BATCH_TEXTS texts per call, with `in_flight` texts in concurrent calls."""
    requests = [
        pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in part])
        for part in _parts(texts, BATCH_TEXTS)
    ]

    def call(stub: ClassifyServiceStub, request: pb.BatchClassifyRequest, tally: Tally) -> None:
        started_s = time.perf_counter()
        answer = stub.BatchClassify(request, timeout=TIMEOUT_S)
        took_s = time.perf_counter() - started_s
        failed = sum(outcome.HasField("error") for outcome in answer.outcomes)
        tally.add([took_s] * len(answer.outcomes), answer.model, answer.timing, failed)

    return _by_threads(target, requests, max(1, in_flight // BATCH_TEXTS), call)


def _by_threads(
    target: str,
    requests: Sequence[Any],
    threads: int,
    call: Callable[[ClassifyServiceStub, Any, Tally], None],
) -> dict[str, Any]:
    tally = Tally()
    with grpc.insecure_channel(target) as channel, ThreadPoolExecutor(threads) as pool:
        stub = ClassifyServiceStub(channel)
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        started_s = time.perf_counter()
        for done in [pool.submit(call, stub, request, tally) for request in requests]:
            done.result()
        return tally.sample(time.perf_counter() - started_s)


def stream(
    target: str, texts: Sequence[str], in_flight: int, items_per_message: int
) -> dict[str, Any]:
    """Send one stream of messages with `items_per_message` items, each when the window has room."""
    inputs = [pb.TextInput(text=text) for text in texts]
    messages = [
        pb.StreamClassifyRequest(
            items=pb.StreamItems(
                items=[
                    pb.StreamItem(id=str(first + n), input=input)
                    for n, input in enumerate(inputs[first : first + items_per_message])
                ]
            )
        )
        for first in range(0, len(inputs), items_per_message)
    ]
    room = threading.Semaphore(in_flight)
    sent_s: dict[str, float] = {}
    began: queue.SimpleQueue[float] = queue.SimpleQueue()

    def requests() -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig())
        began.put(time.perf_counter())
        for message in messages:
            for _ in message.items.items:
                room.acquire()
            now_s = time.perf_counter()
            for item in message.items.items:
                sent_s[item.id] = now_s
            yield message

    tally = Tally()
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(TIMEOUT_S)
        for answer in ClassifyServiceStub(channel).StreamClassify(requests(), timeout=TIMEOUT_S):
            now_s = time.perf_counter()
            results = answer.results.results
            if not results:
                continue
            ids = [result.id for result in results]
            if ids[0] not in sent_s:  # the echo has no ids: its answers are for the oldest items
                ids = list(islice(sent_s, len(results)))
            taken = [sent_s.pop(id_) for id_ in ids]
            failed = sum(result.outcome.HasField("error") for result in results)
            tally.add(
                [now_s - then_s for then_s in taken],
                answer.results.model,
                answer.results.timing,
                failed,
            )
            room.release(len(results))
        return tally.sample(time.perf_counter() - began.get())


def client_unary(target: str, texts: Sequence[str], in_flight: int) -> dict[str, Any]:
    """Call `Client.classify` from `in_flight` threads."""
    tally = Tally()

    def call(text: str) -> None:
        started_s = time.perf_counter()
        answer = client.classify(text, timeout_s=TIMEOUT_S)
        _count(tally, [time.perf_counter() - started_s], answer)

    with Client(target) as client, ThreadPoolExecutor(in_flight) as pool:
        client.wait_until_ready(TIMEOUT_S)
        started_s = time.perf_counter()
        for done in [pool.submit(call, text) for text in texts]:
            done.result()
        return tally.sample(time.perf_counter() - started_s)


def client_stream(target: str, texts: Sequence[str], in_flight: int) -> dict[str, Any]:
    """Call `Client.classify_stream` with a window of `in_flight` texts."""
    tally = Tally()
    sent_s: dict[str, float] = {}

    def source() -> Iterator[str]:
        for number, text in enumerate(texts):
            sent_s[str(number)] = time.perf_counter()
            yield text

    with Client(target) as client:
        client.wait_until_ready(TIMEOUT_S)
        started_s = time.perf_counter()
        for id_, _, outcome in client.classify_stream(source(), window=in_flight):
            if not isinstance(outcome, Classification):
                raise outcome
            _count(tally, [time.perf_counter() - sent_s.pop(id_)], outcome)
        return tally.sample(time.perf_counter() - started_s)


def _count(tally: Tally, latencies_s: Sequence[float], answer: Classification) -> None:
    times_us = {f"{stage}_us": getattr(answer.timing, f"{stage}_us") for stage in STAGES}
    timing = pb.Timing(**times_us, batch_texts=answer.timing.batch_texts)
    model = pb.ModelRef(
        precision=pb.Precision.Value(f"PRECISION_{answer.model.precision.upper()}"),
        engine=pb.Engine(
            execution=pb.Execution.Value(f"EXECUTION_{answer.model.execution.upper()}")
        ),
    )
    tally.add(latencies_s, model, timing)


def _parts(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


SHAPES: dict[str, Callable[[str, Sequence[str], int], dict[str, Any]]] = {
    "unary": unary,
    "batch": batch,
    "stream, 1 item a message": lambda target, texts, n: stream(target, texts, n, 1),
    "stream, 32 items a message": lambda target, texts, n: stream(target, texts, n, STREAM_ITEMS),
    "Client, unary": client_unary,
    "Client, stream": client_stream,
}


def run(
    target: str, shape: str, lengths: Sequence[int], in_flight: int, words: str = ""
) -> dict[str, Any]:
    """Load a server with one shape of call and texts of these lengths in tokens.

    `words` is the name of the checkpoint if its vocabulary is not the reference's.
    """
    texts = checkpoints.texts(lengths, checkpoints.words_of(words))
    return SHAPES[shape](target, texts, in_flight)


if __name__ == "__main__":
    serve({"run": run})
