"""Unary calls in an open loop, which does not wait for answers: an instrument.

Arrivals are a Poisson process, the same one for the same seed. A closed loop slows down with the
server and so can't overload it.
"""

import gc
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from benchmarks import checkpoints
from benchmarks.instrument import serve
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

READY_TIMEOUT_S = 60.0
PATIENCE_S = 10.0
"""Time after its deadline at which a call without an end counts as hanging."""
ANSWERED, HANGS = "answered", "hangs"


@dataclass(frozen=True)
class Call:
    """One call. `due_s` and `sent_s` are seconds since the start of the loop.

    `outcome` is ANSWERED, HANGS, or a status code with its reason, if any. `retry_after_s` is
    None without RetryInfo.
    """

    due_s: float
    sent_s: float
    took_s: float
    tokens: int
    outcome: str
    retry_after_s: float | None


def arrivals_s(per_s: float, seconds: float, seed: int) -> Iterator[float]:
    """Yield the instants of a Poisson process, up to `seconds`."""
    drawn = random.Random(seed)
    now_s = drawn.expovariate(per_s)
    while now_s < seconds:
        yield now_s
        now_s += drawn.expovariate(per_s)


def run(
    target: str,
    lengths: Sequence[int],
    per_s: float,
    seconds: float,
    deadline_s: float,
    seed: int = 0,
    words: str = "",
) -> dict[str, Any]:
    """Send calls with texts of these lengths, repeatedly, and wait until all have ended.

    Returns the fields of each Call, and the instant of the monotonic clock that they count from.
    `words` is "embedded" for the embedded checkpoint, which has its own vocabulary.
    """
    due_s = list(arrivals_s(per_s, seconds, seed))
    tokens = [lengths[n % len(lengths)] for n in range(len(due_s))]
    vocabulary = checkpoints.embedded_words() if words == "embedded" else checkpoints.words()
    requests = [
        pb.ClassifyRequest(input=pb.TextInput(text=text))
        for text in checkpoints.texts(tokens, vocabulary)
    ]
    sent_s, ended_s = [0.0] * len(due_s), [0.0] * len(due_s)
    left = threading.Semaphore(0)
    calls: list[Any] = []

    def note_end(number: int) -> None:
        ended_s[number] = time.monotonic()
        left.release()

    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(READY_TIMEOUT_S)
        stub: Any = ClassifyServiceStub(channel)
        gc.collect()
        gc.disable()  # collecting would scan all calls repeatedly, and delay sending
        began_s = time.monotonic()
        for number, (at_s, request) in enumerate(zip(due_s, requests, strict=True)):
            time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            sent_s[number] = time.monotonic()
            call = stub.Classify.future(request, timeout=deadline_s)
            call.add_done_callback(lambda _, number=number: note_end(number))
            calls.append(call)
        gc.enable()
        until_s = time.monotonic() + deadline_s + PATIENCE_S
        for _ in calls:
            if not left.acquire(timeout=max(0.0, until_s - time.monotonic())):
                break
        made = [
            Call(
                due,
                sent - began_s,
                (ended or time.monotonic()) - sent,
                size,
                *(ending(call) if ended else (HANGS, None)),
            )
            for due, sent, ended, size, call in zip(
                due_s, sent_s, ended_s, tokens, calls, strict=True
            )
        ]
    return {"began_s": began_s, "calls": [astuple(call) for call in made]}


def ending(call: Any) -> tuple[str, float | None]:
    """Return the outcome of a finished call, and its retry time."""
    if call.code() is grpc.StatusCode.OK:
        return ANSWERED, None
    status = rpc_status.from_call(call)
    reason, retry_after_s = "", None
    for detail in status.details if status else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = f" {info.reason}"
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    return f"{call.code().name}{reason}", retry_after_s


if __name__ == "__main__":
    serve({"run": run})
