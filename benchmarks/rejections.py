"""Cost of rejecting a call: processor time of the server, compared with gRPC alone.

    python -m benchmarks.rejections [--rounds 10] [--calls 3000]

Calls that send nothing hold all of Classwire's threads, so it rejects every other call with
OVERLOADED and a retry time. gRPC alone is a server without the called method. They take turns.
Processor time is that of the whole process, including gRPC's part.
"""

import argparse
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire_server.observability.metrics.workers import Usage

from .figures import figure, ratio
from .instrument import MeasurementError, end_on_sigterm
from .machine import in_words, machine
from .served import CLASSWIRE, ECHO, Served

FEW_THREADS = ("--rpc-threads", "5", "--max-streams", "1", "--max-waiting-calls", "64")
HOLDERS = 96
"""Calls that send nothing: more than RPC threads and waiting calls together."""
IN_FLIGHT = 32
TIMEOUT_S = 20.0
SERVICE = "/classwire.v1.ClassifyService"
REQUEST = pb.ClassifyRequest(input=pb.TextInput(text="A book to keep.")).SerializeToString()


class RejectingServer(NamedTuple):
    """A server, and a method whose calls it rejects."""

    server: Served
    method: Any


class Subject(NamedTuple):
    """A server under test, and the status code of its rejections."""

    name: str
    rejecting: RejectingServer
    code: grpc.StatusCode

    def cost_us(self, calls: int) -> float:
        """Return the server's processor time per call, in microseconds.

        Raises MeasurementError for another status code.
        """
        before_us = _cpu_us(self.rejecting.server)
        _expect_rejections(self.rejecting.method, calls, self.code)
        return (_cpu_us(self.rejecting.server) - before_us) / calls


def classwire(ends: ExitStack) -> RejectingServer:
    """Start Classwire and occupy all its threads."""
    server = ends.enter_context(Served(*CLASSWIRE, *FEW_THREADS))
    channel = _channel(server, ends)
    method: Any = channel.stream_unary(f"{SERVICE}/Classify")
    ended = threading.Event()
    ends.callback(ended.set)
    for _ in range(HOLDERS):
        ends.callback(method.future(iter(ended.wait, True)).cancel)
    return RejectingServer(server, channel.unary_unary(f"{SERVICE}/Classify"))


def grpc_alone(ends: ExitStack) -> RejectingServer:
    """Start a gRPC server without the method."""
    server = ends.enter_context(Served(*ECHO))
    return RejectingServer(server, _channel(server, ends).unary_unary(f"{SERVICE}/Nothing"))


def _channel(server: Served, ends: ExitStack) -> grpc.Channel:
    return ends.enter_context(
        grpc.insecure_channel(server.target, options=[("grpc.enable_retries", 0)])
    )


def _expect_rejections(method: Any, calls: int, code: grpc.StatusCode) -> None:
    places = threading.Semaphore(IN_FLIGHT)
    codes = []

    def ended(call: Any) -> None:
        codes.append(call.code())
        places.release()

    for _ in range(calls):
        places.acquire()
        method.future(REQUEST, timeout=TIMEOUT_S).add_done_callback(ended)
    for _ in range(IN_FLIGHT):
        places.acquire()
    if others := set(codes) - {code}:
        raise MeasurementError(f"not rejected: {others}")


def _cpu_us(server: Served) -> float:
    usage = Usage.of(server.pid)
    if usage is None:
        raise MeasurementError("the system does not report processor time")
    return 1e6 * usage.cpu_s


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], prog="python -m benchmarks.rejections"
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--calls", type=int, default=3_000, help="calls in each sample")
    arguments = parser.parse_args()
    end_on_sigterm()
    found: dict[str, list[float]] = {}
    with ExitStack() as ends:
        subjects = (
            Subject("Classwire", classwire(ends), grpc.StatusCode.RESOURCE_EXHAUSTED),
            Subject("gRPC alone", grpc_alone(ends), grpc.StatusCode.UNIMPLEMENTED),
        )
        for turn in range(-1, arguments.rounds):  # round -1 warms up
            for subject in subjects[:: 1 if turn % 2 else -1]:
                took_us = subject.cost_us(arguments.calls)
                if turn >= 0:
                    found.setdefault(subject.name, []).append(took_us)
    at = machine()
    print(f"{datetime.now(UTC).date()}, {in_words(at)}, ", end="")
    print(f"Python {at['python']}; {arguments.rounds} rounds of {arguments.calls} calls\n")
    for name, taken in found.items():
        print(f"{name}: {figure(taken)} us of processor time per rejected call")
    print(f"ratio: {ratio(found['Classwire'], found['gRPC alone'])}")


if __name__ == "__main__":
    main()
