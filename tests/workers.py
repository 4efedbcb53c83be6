"""Workers for tests: forked, with or without a fault, or in the test's own process."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import (
    ANY_TIME,
    Deviation,
    EngineTraits,
    Launched,
    Logits,
    Terms,
    WorkerState,
)
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import pack
from classwire_server.engine.selection.choice import select
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker.forking import FORK_SERVER, ForkedWorker
from classwire_server.engine.worker.protocol import Link
from classwire_server.tokenization import Encoding

REPOSITORY = Path(__file__).parents[1]


Main = Callable[[Link, Sequence[Link]], None]
"""What a worker's process runs: `worker.main`, or a function with a fault."""


class _OfTests:
    """Pickles as a function of the tests, which the fork server knows nothing of."""

    def __init__(self, main: Main) -> None:
        self._main = main

    def __reduce__(self) -> Any:
        """An expression that finds the function: a fork imports only what is installed."""
        module, name = self._main.__module__, self._main.__qualname__
        found = f"__import__({module!r}, fromlist=['']).{name}"
        return eval, (f"__import__('sys').path.insert(0, {str(REPOSITORY)!r}) or {found}",)


def fork(control: Link, links: Sequence[Link], main: Main = worker.main) -> ForkedWorker:
    """Fork a worker that runs `main`, as a server does."""
    return FORK_SERVER.spawn(control, links, main if main is worker.main else _OfTests(main))  # type: ignore[arg-type]


class InProcessEngine:
    """A worker's engine in the test's own process, where a test can change its parts."""

    lanes = 1
    is_up = True
    failure = ""
    workers: Sequence[WorkerState] = ()

    def __init__(self, runner: Runner, deviation: Deviation) -> None:
        self.traits: EngineTraits = runner.traits
        self.deviation = deviation
        self._runner = runner

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        texts = pack(encodings)
        return Logits(texts.unsorted(self._runner.run(texts)), self.traits, 0.0, time.monotonic())

    def close(self) -> None:
        """Do nothing: there is no process to end."""


def launch_in_process(source: ModelSource, config: ServerConfig, on_change: Any) -> Launched:
    """Start a model as a worker does, in the test's own process."""
    selection = select(source, config, "cpu")
    runner = selection.finished(selection.engine)
    engine = InProcessEngine(runner, selection.deviation)
    return Launched(
        selection.checkpoint, engine, selection.batch_tokens, selection.profile, selection.choices
    )
