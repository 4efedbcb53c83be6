"""What it costs to refuse a call: processor time of the server, beside that of gRPC alone.

    python -m benchmarks.refusals [--rounds 10] [--calls 3000]

Classwire's threads are all held by calls that send nothing, so that it refuses every other call
with OVERLOADED and a time to come back. gRPC alone is a server without the method that is called.
They take turns; processor time is that of the whole process, so that what gRPC does counts too.
"""

import argparse
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire_server.metrics.workers import Usage

from .figures import figure, ratio
from .instrument import Failed
from .machine import machine
from .served import CLASSWIRE, ECHO, Served

FEW_THREADS = ("--rpc-threads", "5", "--max-streams", "1", "--max-waiting-calls", "1")
HOLDERS = 16
"""Calls that send nothing: more than threads and places in the line."""
IN_FLIGHT = 32
TIMEOUT_S = 20.0
SERVICE = "/classwire.v1.ClassifyService"
REQUEST = pb.ClassifyRequest(input=pb.TextInput(text="A book to keep.")).SerializeToString()

Method = Callable[..., Any]


def method_of(channel: grpc.Channel, name: str) -> Method:
    """A method that takes and gives bytes."""
    method: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"{SERVICE}/{name}")
    return method.future


def hold_threads(channel: grpc.Channel, ends: ExitStack) -> None:
    """Keep all threads of a server busy until the end of the block."""
    ended = threading.Event()
    ends.callback(ended.set)
    method: Any = channel.stream_unary(f"{SERVICE}/Classify")
    for _ in range(HOLDERS):
        call = method.future(iter(ended.wait, True))
        ends.callback(call.cancel)


def refuse(method: Method, calls: int, code: grpc.StatusCode) -> None:
    """Make so many calls, all of which must be refused with this code."""
    places = threading.Semaphore(IN_FLIGHT)
    codes = []

    def ended(call: Any) -> None:
        codes.append(call.code())
        places.release()

    for _ in range(calls):
        places.acquire()
        method(REQUEST, timeout=TIMEOUT_S).add_done_callback(ended)
    for _ in range(IN_FLIGHT):
        places.acquire()
    if others := set(codes) - {code}:
        raise Failed(f"not refused: {others}")


def cpu_us(server: Served) -> float:
    """Processor time of a server's process until now."""
    usage = Usage.of(server.pid)
    if usage is None:
        raise Failed("the system does not tell processor time")
    return 1e6 * usage.cpu_s


def main() -> None:
    """Measure, and print two lines."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks.refusals"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=3_000, help="of each sample")
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    with ExitStack() as ends:
        subjects = []
        for name, command, method, code in (
            ("Classwire", (*CLASSWIRE, *FEW_THREADS), "Classify", "RESOURCE_EXHAUSTED"),
            ("gRPC alone", ECHO, "Nothing", "UNIMPLEMENTED"),
        ):
            server = ends.enter_context(Served(*command))
            channel = ends.enter_context(
                grpc.insecure_channel(server.target, options=[("grpc.enable_retries", 0)])
            )
            if server.pids[1:]:
                hold_threads(channel, ends)
            subjects.append(
                (name, server, method_of(channel, method), getattr(grpc.StatusCode, code))
            )
        for turn in range(-1, arguments.rounds):  # the round before the first one warms up
            for name, server, method, code in subjects[:: 1 if turn % 2 else -1]:
                before_us = cpu_us(server)
                refuse(method, arguments.calls, code)
                if turn >= 0:
                    took_us = (cpu_us(server) - before_us) / arguments.calls
                    found.setdefault(name, []).append(took_us)
    at = machine()
    print(f"{datetime.now(UTC).date()}, {at['cores']} cores of {at['processor']}, ", end="")
    print(f"Python {at['python']}; {arguments.rounds} rounds of {arguments.calls} calls\n")
    for name, taken in found.items():
        print(f"{name}: {figure(taken)} us of processor time for each call that is refused")
    print(f"ratio: {ratio(found['Classwire'], found['gRPC alone'])}")


if __name__ == "__main__":
    main()
