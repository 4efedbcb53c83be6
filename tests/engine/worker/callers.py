"""Requests to a server and to the operating system, for tests of workers."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from benchmarks.instrument import children, descendants
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.tokenization import Encoding, Text, Tokenization, Truncation
from tests.contract.engines import PATIENCE_S, eventually
from tests.contract.failures import Failure
from tests.parity.direct import TEXTS

LONG = "book " * 400
"""A long text, on which some faults of workers occur."""

WORKER_LOST = Failure(grpc.StatusCode.UNAVAILABLE, "WORKER_LOST")


def classify(channel: grpc.Channel, text: str) -> pb.ClassifyResponse:
    """Call Classify with a timeout."""
    request = pb.ClassifyRequest(input=pb.TextInput(text=text))
    response: pb.ClassifyResponse = ClassifyServiceStub(channel).Classify(
        request, timeout=PATIENCE_S
    )
    return response


def health(channel: grpc.Channel, service: str = "") -> int:
    """The status that a health check returns."""
    stub: Any = HealthStub(channel)
    return int(stub.Check(HealthCheckRequest(service=service), timeout=PATIENCE_S).status)


def encodings(tokenization: Tokenization) -> Sequence[Encoding]:
    """Encodings of texts of many lengths."""
    texts = [Text(text) if isinstance(text, str) else Text(*text) for text in TEXTS]
    return [tokenization.encode(text, Truncation.DROP_END, "") for text in texts]


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return _state(Path(f"/proc/{pid}/stat")) == "Z"


def worker_of(server_pid: int) -> int:
    """The process id of a server's only worker, forked or not."""
    [pid] = [each for each in descendants(server_pid) if not children(each)]
    return pid


def stop(pid: int) -> None:
    """Stop all threads of a process until SIGCONT or SIGKILL."""
    os.kill(pid, signal.SIGSTOP)
    threads = list(Path(f"/proc/{pid}/task").glob("*/stat"))
    assert eventually(lambda: {_state(thread) for thread in threads} == {"T"})


def _state(stat: Path) -> str:
    return stat.read_text().rpartition(")")[2].split()[0]
