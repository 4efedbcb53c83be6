"""Servers with a fault that the program starts and ends."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, ClassVar

import grpc

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.registry.loader import Launch
from classwire_server.server import Server

TIMEOUT_S = 60.0
"""Timeout of a call."""
PAUSE_S = 0.05
"""Pause between the calls of a loop."""


class Subject(ABC):
    """A server that has a fault from `provoke` until `mend`.

    `alerts` are those that its fault must fire. For use by one thread; `close` ends it.
    """

    alerts: ClassVar[tuple[str, ...]]

    def __init__(self, checkpoint: Path, launch: Launch, **settings: Any) -> None:
        self._launch = launch
        self._settings: dict[str, Any] = {
            "port": 0,
            "metrics_port": 0,
            "model": (f"tiny={checkpoint}",),
            **settings,
        }
        self._ends = ExitStack()
        self._loops = ExitStack()
        self.server = Server(self._config(), launch)
        self._ends.callback(self.server.stop, 0)
        self.start()
        self.target = self.server.metrics_target
        self.channel = self._ends.enter_context(grpc.insecure_channel(self.server.target))
        self.stub: Any = ClassifyServiceStub(self.channel)
        self.call("good")

    def start(self) -> None:
        """Start the server."""
        self.server.start()

    @abstractmethod
    def provoke(self) -> None:
        """Start the fault."""

    @abstractmethod
    def mend(self) -> None:
        """End the fault."""

    def close(self) -> None:
        """Stop the server and all loops."""
        self.end_loops()
        self._ends.close()

    def call(self, words: str) -> None:
        """Make a call, and ignore its errors."""
        with suppress(grpc.RpcError):
            self.stub.Classify(text(words), timeout=TIMEOUT_S)

    def loop(self, act: Callable[[], object]) -> None:
        """Repeat an action on a thread of its own, until `end_loops`."""
        is_over = threading.Event()

        def run() -> None:
            while not is_over.wait(PAUSE_S):
                act()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._loops.callback(thread.join, TIMEOUT_S)
        self._loops.callback(is_over.set)

    def end_loops(self) -> None:
        """End all loops."""
        self._loops.close()

    def start_again(self) -> None:
        """Start another server with metrics at the same address, after this one has ended."""
        port = int(self.target.rpartition(":")[2])
        self._ends.enter_context(Server(self._config(metrics_port=port), self._launch))

    def _config(self, **settings: Any) -> ServerConfig:
        return ServerConfig(**{**self._settings, **settings})


def text(words: str) -> pb.ClassifyRequest:
    """Return a call with one text."""
    return pb.ClassifyRequest(input=pb.TextInput(text=words))


def texts(*words: str) -> pb.BatchClassifyRequest:
    """Return a call with several texts."""
    return pb.BatchClassifyRequest(inputs=[pb.TextInput(text=one) for one in words])
