"""Callers with very short deadlines, some of which cancel: an instrument."""

import random
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import grpc

from benchmarks.checkpoints import embedded_words, texts
from benchmarks.instrument import serve
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

TIMEOUTS_MS = (1, 20)
MOST_OPEN = 256
PATIENCE_S = 60.0


class Storm:
    """Concurrent calls of all kinds, whose ends it counts."""

    def __init__(self, stub: ClassifyServiceStub) -> None:
        self.codes: Counter[str] = Counter()
        self._stub: Any = stub
        self._drawn = random.Random(0)
        self._inputs = [pb.TextInput(text=text) for text in texts([40] * 997, embedded_words())]
        self._room = threading.Semaphore(MOST_OPEN)
        self._lock = threading.Lock()  # guards codes

    def call(self, number: int) -> Any:
        """Start a call: of ten, eight are unary, one is a batch and one a stream."""
        self._room.acquire()
        timeout_s = self._drawn.uniform(*TIMEOUTS_MS) / 1e3
        inputs = [self._inputs[(number + n) % len(self._inputs)] for n in range(8)]
        kind = number % 10
        if kind == 0:
            call = self._stub.BatchClassify.future(
                pb.BatchClassifyRequest(inputs=inputs), timeout=timeout_s
            )
        elif kind == 1:
            call = self._stub.StreamClassify(iter(_stream(inputs)), timeout=timeout_s)
        else:
            call = self._stub.Classify.future(
                pb.ClassifyRequest(input=inputs[0]), timeout=timeout_s
            )
        call.add_done_callback(self._note)
        return call

    def wait(self) -> None:
        """Wait until every call has ended, or until a timeout."""
        for _ in range(MOST_OPEN):
            if not self._room.acquire(timeout=PATIENCE_S):
                return

    def _note(self, call: Any) -> None:
        with self._lock:
            self.codes[call.code().name] += 1
        self._room.release()


def _stream(inputs: Sequence[pb.TextInput]) -> list[pb.StreamClassifyRequest]:
    items = [pb.StreamItem(id=str(n), input=input) for n, input in enumerate(inputs)]
    return [
        pb.StreamClassifyRequest(config=pb.StreamConfig()),
        pb.StreamClassifyRequest(items=pb.StreamItems(items=items)),
    ]


def storm(target: str, calls: int) -> dict[str, int]:
    """Start `calls` calls, and cancel every third while the next ones start.

    Returns how many ended with each code.
    """
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(PATIENCE_S)
        calling = Storm(ClassifyServiceStub(channel))
        to_cancel: deque[Any] = deque()
        for number in range(calls):
            call = calling.call(number)
            if number % 3 == 0:
                to_cancel.append(call)
            if len(to_cancel) > number % 2:
                to_cancel.popleft().cancel()
        calling.wait()
        return dict(calling.codes)


if __name__ == "__main__":
    serve({"storm": storm})
