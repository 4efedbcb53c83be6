"""An instrument that runs a model's worker next to busy Python threads of the server's process.

This process acts as the server's: it starts a model's worker as the server does, and runs the
threads.
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import WorkerPool, launch

from .batching import encodings
from .instrument import pin, seconds_of, serve


@contextmanager
def busy_threads(count: int) -> Iterator[None]:
    """Run `count` threads of this process that compute in Python, until the block ends."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1_000))

    threads = [threading.Thread(target=spin) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Interference:
    """One worker process with one lane of one thread. For use by one thread."""

    def __init__(self) -> None:
        self._engine: WorkerPool | None = None

    def prepare(self, folder: str, cores: Iterable[int]) -> None:
        """Start the worker on these cores."""
        config = ServerConfig(device="cpu", lanes=1, threads=1)
        launched = launch(ModelSource("measured", folder), config, lambda: None)
        assert isinstance(launched.engine, WorkerPool)
        self._engine = launched.engine
        for pid in self._engine.pids:
            pin(pid, cores)

    def with_busy_threads(self, tokens: int, busy: int, repetitions: int) -> dict[str, Any]:
        """Return seconds of forward passes of one text, and of their round trips."""
        assert self._engine is not None
        text = encodings([tokens])
        forward_s: list[float] = []

        def infer(engine: WorkerPool) -> None:
            forward_s.append(engine.infer(text).inference_s)

        engine = self._engine
        with busy_threads(busy):
            round_trip_s = [seconds_of(lambda: infer(engine)) for _ in range(repetitions)]
        return {"forward_s": forward_s, "round_trip_s": round_trip_s}

    def close(self) -> None:
        """End the worker."""
        if self._engine is not None:
            self._engine.close()


if __name__ == "__main__":
    interference = Interference()
    serve({"prepare": interference.prepare, "with_busy_threads": interference.with_busy_threads})
    interference.close()
