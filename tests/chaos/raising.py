"""A model's process in which some forward passes fail."""

import itertools
import logging
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from classwire_server.engine.forward.packed import PackedEngine
from classwire_server.engine.packing import PackedTexts
from classwire_server.engine.worker import main as worker
from classwire_server.engine.worker.protocol import Link
from tests.faults import spawn_with

from .callers import Ledger, start
from .known import Known
from .servers import inside
from .trial import Plan, Report, Trial

BATCHES_PER_FAILURE = 50


def fails_some_passes(control: Link, links: Sequence[Link]) -> None:
    """Run a worker in which one forward pass in BATCHES_PER_FAILURE raises."""
    passes, forward = itertools.count(1), PackedEngine.run

    def run(self: PackedEngine, texts: PackedTexts) -> np.ndarray:
        if next(passes) % BATCHES_PER_FAILURE == 0:
            raise RuntimeError("injected failure")
        return forward(self, texts)

    PackedEngine.run = run  # type: ignore[method-assign]
    worker.main(control, links)


class _Failures(logging.Handler):
    """Counts the batches that the server logs as failed."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += "running it again in parts" in record.getMessage()


def run(plan: Plan) -> Report:
    """Run load until enough batches have failed."""
    report, failures, wanted = Report(), _Failures(), 1 if plan.is_short else 20
    logger = logging.getLogger("classwire_server.scheduling.execution")
    with inside(plan, spawn_with(fails_some_passes), batch_tokens=512) as server:
        ledger = Ledger(Known.ask(server.target, 100 if plan.is_short else 1_000))
        logger.addHandler(failures)
        try:
            with ExitStack() as ends:
                start(ends, server.target, ledger, unary=4, batches=1, streams=1)
                assert ledger.wait_until(lambda: failures.count >= wanted)
        finally:
            logger.removeHandler(failures)
    found = f"{failures.count} times"
    report.add(
        f"one batch in {BATCHES_PER_FAILURE} raises",
        f"at least {wanted} times",
        found,
        failures.count >= wanted,
    )
    ledger.report(report, "callers")
    return report


RAISING = Trial(
    "raising",
    "A model's process is under load (unary calls, batches, a stream), and one forward pass in 50 "
    "raises an exception.",
    run,
)
