"""An instrument that times windows, rankings and zero-shot calls, each in turns with a batch of the
same model inputs, and that keeps a server busy with long texts.
"""

import functools
import random
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.windows import lay

from . import checkpoints
from .instrument import MeasurementError, seconds_of, serve
from .load import TIMEOUT_S
from .workload import SPECIAL_TOKENS

NLI_LABELS = ("entailment", "neutral", "contradiction")
TEXT_TOKENS, WINDOW_TOKENS, OVERLAP_TOKENS = 5_000, 512, 128
ROOM = WINDOW_TOKENS - SPECIAL_TOKENS
BUSY_WINDOWS = 64
BUSY_TOKENS = ROOM + (BUSY_WINDOWS - 1) * (ROOM - OVERLAP_TOKENS) + SPECIAL_TOKENS
DOCUMENTS, DOCUMENT_WORDS, QUERY_WORDS = 100, 48, 8
CANDIDATES, ZERO_SHOT_WORDS = 20, 100
TURNS_S = 30.0
"""Bounds a round on a slow processor, where one turn of BERT-base may take longer."""

IN_WINDOWS: dict[str, Any] = {
    "truncation": pb.TRUNCATION_WINDOWS,
    "windows": pb.WindowOptions(overlap_tokens=OVERLAP_TOKENS),
}


class Compared(NamedTuple):
    """A call, and a batch of the inputs that the model gets for it."""

    method: str
    request: Any
    inputs: Sequence[pb.TextInput]


def windows(words: list[str]) -> Compared:
    """A long text, and its windows."""
    text = words[: TEXT_TOKENS - SPECIAL_TOKENS]
    runs = lay(len(text), ROOM, ROOM - OVERLAP_TOKENS)
    return Compared(
        "Classify",
        pb.ClassifyRequest(
            input=pb.TextInput(text=" ".join(text)), options=pb.ClassifyOptions(**IN_WINDOWS)
        ),
        [pb.TextInput(text=" ".join(text[run.start : run.stop])) for run in runs],
    )


def rank(words: list[str]) -> Compared:
    """A query with documents, and the pairs."""
    query, rest = " ".join(words[:QUERY_WORDS]), words[QUERY_WORDS:]
    places = range(0, DOCUMENTS * DOCUMENT_WORDS, DOCUMENT_WORDS)
    documents = [" ".join(rest[place : place + DOCUMENT_WORDS]) for place in places]
    options = pb.RankOptions(label=NLI_LABELS[0])
    return Compared(
        "Rank",
        pb.RankRequest(query=query, documents=documents, options=options),
        [pb.TextInput(text=query, text_pair=document) for document in documents],
    )


def zero_shot(words: list[str]) -> Compared:
    """A text with candidates, and the pairs of text and hypothesis."""
    text, candidates = " ".join(words[:ZERO_SHOT_WORDS]), words[-CANDIDATES:]
    return Compared(
        "ZeroShotClassify",
        pb.ZeroShotClassifyRequest(text=text, candidate_labels=candidates),
        [pb.TextInput(text=text, text_pair=f"This example is {each}.") for each in candidates],
    )


CALLS: dict[str, Callable[[list[str]], Compared]] = {
    "windows": windows,
    "rank": rank,
    "zero_shot": zero_shot,
}


def compare(target: str, call: str, turns: int) -> dict[str, float]:
    """Return the median seconds of a call, and of a batch of its inputs, with equal texts.

    They take `turns`, or fewer: none begins after TURNS_S.
    """
    drawn, vocabulary = random.Random(0), checkpoints.words()
    call_s: list[float] = []
    batch_s: list[float] = []
    with grpc.insecure_channel(target) as channel:
        stub = ClassifyServiceStub(channel)
        until_s = time.monotonic() + TURNS_S
        for turn in range(turns):
            if turn and time.monotonic() > until_s:
                break
            compared = CALLS[call](drawn.sample(vocabulary, TEXT_TOKENS))
            batch = pb.BatchClassifyRequest(inputs=compared.inputs)
            timed = [
                (call_s, getattr(stub, compared.method), compared.request),
                (batch_s, stub.BatchClassify, batch),
            ]
            for taken_s, method, request in timed if turn % 2 else reversed(timed):
                send = functools.partial(method, request, timeout=TIMEOUT_S)
                taken_s.append(seconds_of(send))
    return {"call_s": statistics.median(call_s), "batch_s": statistics.median(batch_s)}


class LongTexts:
    """Calls with a text of BUSY_WINDOWS windows, one after the other, until they are to end."""

    def __init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._ended: Future[None] = Future()
        self._call: Any = None

    def begin(self, target: str, priority: str) -> None:
        """Begin the calls, as interactive or bulk work."""
        self._is_over.clear()
        self._ended = self._thread.submit(self._run, target, priority)

    def end(self) -> None:
        """Cancel the call that is under way. Raises the error of a call that failed before."""
        self._is_over.set()
        if self._call is not None:
            self._call.cancel()
        self._ended.result()

    def _run(self, target: str, priority: str) -> None:
        [text] = checkpoints.texts([BUSY_TOKENS], checkpoints.words())
        number = pb.Priority.Value(f"PRIORITY_{priority.upper()}")
        options = pb.ClassifyOptions(**IN_WINDOWS, priority=number)
        request = pb.ClassifyRequest(input=pb.TextInput(text=text), options=options)
        with grpc.insecure_channel(target) as channel:
            stub: Any = ClassifyServiceStub(channel)
            while not self._is_over.is_set():
                self._call = stub.Classify.future(request, timeout=TIMEOUT_S)
                try:
                    self._call.result()
                except grpc.FutureCancelledError:
                    return
                except grpc.RpcError:
                    raise MeasurementError(f"{self._call.code()}: {self._call.details()}") from None


if __name__ == "__main__":
    long_texts = LongTexts()
    serve({"compare": compare, "begin": long_texts.begin, "end": long_texts.end})
