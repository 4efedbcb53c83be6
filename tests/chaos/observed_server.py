"""A server in a process of its own that records its forward passes: an instrument.

It stays on the cores of this process, and so does its model's worker.
"""

import functools
import itertools
import logging
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any
from unittest.mock import patch

from benchmarks.instrument import serve
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import launch
from classwire_server.scheduling.batch import Batch
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.scheduler import Scheduler
from classwire_server.server import Server


@dataclass(frozen=True)
class Run:
    """One forward pass, from `began_s` to `ended_s` of the monotonic clock.

    `expired` texts were past every deadline when it began, `late` ones when it ended.
    """

    began_s: float
    ended_s: float
    texts: int
    tokens: int
    expired: int
    late: int


class ObservedScheduler(Scheduler):
    """A scheduler that records finished passes in `runs`, which any thread may copy."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.runs: list[Run] = []

    def finish(self, batch: Batch, passes: Iterable[ForwardPass], now_s: float) -> None:
        """Give each text its answer or error, and record the passes."""
        done = list(passes)
        super().finish(batch, done, now_s)
        rows = iter(batch.rows)
        for one in done:
            began_s = now_s if isinstance(one.logits, Exception) else one.logits.began_s
            deadlines_s = [
                max(text.deadline_s for text in row) for row in itertools.islice(rows, one.texts)
            ]
            self.runs.append(
                Run(
                    began_s,
                    now_s,
                    one.texts,
                    one.tokens,
                    sum(deadline_s < began_s for deadline_s in deadlines_s),
                    sum(deadline_s < now_s for deadline_s in deadlines_s),
                )
            )


class ObservedServer:
    """A server with one model. For use by one thread."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._scheduler: ObservedScheduler | None = None

    def start(self, settings: dict[str, Any], is_half_as_fast: bool = False) -> str:
        """Serve with these settings, and return the target.

        With `is_half_as_fast` its worker computes each batch twice.
        """
        config = ServerConfig(port=0, **{**settings, "model": tuple(settings.get("model", ()))})
        start_model = launch
        if is_half_as_fast:
            from tests.faults import computes_twice, spawn_with  # imports torch

            start_model = functools.partial(launch, spawn=spawn_with(computes_twice))
        self._server = Server(config, start_model)
        with patch("classwire_server.scheduling.dispatcher.Scheduler", self._observed):
            self._server.start()
        return self._server.target

    def runs(self, since_s: float) -> list[tuple[Any, ...]]:
        """Return the fields of each run that ended after this instant of the monotonic clock."""
        assert self._scheduler is not None
        return [astuple(run) for run in self._scheduler.runs.copy() if run.ended_s >= since_s]

    def settle(self, timeout_s: float) -> bool:
        """Return whether within `timeout_s` no call is in flight and no text waits."""
        assert self._server is not None
        assert self._scheduler is not None
        return self._server.gate.wait_until_empty(timeout_s) and not self._scheduler.waiting_texts

    def stop(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.stop(drain_timeout_s=0)

    def _observed(self, **settings: Any) -> ObservedScheduler:
        self._scheduler = ObservedScheduler(**settings)
        return self._scheduler


if __name__ == "__main__":
    logging.getLogger("classwire_server").setLevel(logging.ERROR)
    observed = ObservedServer()
    functions = (observed.start, observed.runs, observed.settle)
    serve({function.__name__: function for function in functions})
    observed.stop()
