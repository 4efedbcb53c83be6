"""The server of a replica: how it ends."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import grpc
import pytest

from benchmarks.instrument import children
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker.callers import is_gone, stop, worker_of

REPLICA = f"""
import sys
from classwire_server.ray.server_process import ServerProcess
server = ServerProcess("127.0.0.1", sys.argv[1:], {10 * PATIENCE_S})
print(server.target, server.metrics, flush=True)
sys.stdin.readline()
server.end()
"""


class Replica:
    """A process with a server, which it ends when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.target, self.metrics = self._pipe(process.stdout).readline().split()
        [self.server] = children(process.pid)
        self.worker = worker_of(self.server)

    def end_server(self) -> None:
        """Let the process end the server; wait until the server drains."""
        told = self._pipe(self.process.stdin)
        told.write("end\n")
        told.flush()
        assert any("draining" in line for line in self._pipe(self.process.stderr))

    def is_computing(self) -> bool:
        """Whether a text is in the model's process."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=PATIENCE_S) as page:
            return 'classwire_lanes_busy{model="m"} 1.0' in page.read().decode()

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


@contextmanager
def replica(folder: Path) -> Iterator[Replica]:
    """Run a replica of a checkpoint until the block ends."""
    options = ["--model", f"m={folder}", "--lanes", "1", "--threads", "1", "--batch-tokens", "512"]
    with subprocess.Popen(
        [sys.executable, "-c", REPLICA, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        started = Replica(process)
        try:
            yield started
        finally:
            process.kill()
            for pid in (started.worker, started.server):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def test_a_drain_survives_the_replica(checkpoint: Callable[..., Path]) -> None:
    """A server answers the calls that it has, also when its replica is killed during the drain."""
    with replica(checkpoint("bert")) as running, grpc.insecure_channel(running.target) as channel:
        stop(running.worker)
        request = pb.ClassifyRequest(input=pb.TextInput(text="a book"))
        held = ClassifyServiceStub(channel).Classify.future(request, timeout=10 * PATIENCE_S)
        assert eventually(running.is_computing)
        running.end_server()
        running.process.kill()
        running.process.wait()
        with pytest.raises(grpc.FutureTimeoutError):
            held.exception(1.0)  # the drain waits for the call
        os.kill(running.worker, signal.SIGCONT)
        assert held.result(PATIENCE_S).result.scores
        assert eventually(lambda: is_gone(running.server))
