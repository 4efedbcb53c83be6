"""Models whose workers have faults."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.tokenization import Text, Truncation
from tests.contract.engines import PATIENCE_S
from tests.engine.worker.callers import LONG, stop
from tests.faults import Succession


class Supervised:
    """A model whose workers have faults, and its state changes."""

    def __init__(self, spawn: Succession, **settings: Any) -> None:
        settings = {"lanes": 1, "threads": 1, "batch_tokens": 512, **settings}
        self.spawn = spawn
        self._changed = threading.Condition()
        config = ServerConfig(**settings)
        launched = launch(config.sources[0], config, self._notify, spawn)
        assert isinstance(launched.engine, WorkerPool)
        self.engine = launched.engine
        tokenization = launched.checkpoint.tokenization(Truncation.REJECT)
        self.short, self.long = (tokenization.encode(Text(text), None, "") for text in ("a", LONG))

    def kill(self, number: int = signal.SIGKILL, device: int = 0) -> None:
        """Send a signal to the worker of a device."""
        os.kill(self.engine.pids[device], number)

    def hang(self) -> None:
        """Stop the worker of the first device that is up."""
        stop(self.engine.pids[0])

    def wait_for(self, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
        """Wait until a condition holds after a state change."""
        with self._changed:
            assert self._changed.wait_for(condition, patience_s)

    def wait_for_start(self, number: int) -> None:
        """Wait until `number` workers have been started and one is up."""
        self.wait_for(lambda: len(self.spawn.workers) == number and self.engine.is_up)

    def answers(self) -> bool:
        """Whether the model computes a text."""
        return self.engine.infer([self.short]).values.shape == (1, 5)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


Start = Callable[..., Supervised]
