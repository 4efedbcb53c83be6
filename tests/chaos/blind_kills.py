"""Kills of a model's process that do not look at what it does, also right after its restarts."""

import os
import random
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.checkpoints import embedded_words
from classwire import Client, PoisonInputError
from classwire_server.engine.worker.pool import WorkerPool
from classwire_server.server import Server
from tests.contract.engines import eventually
from tests.faults import Succession, dies_on_long_texts

from .callers import PATIENCE_S, Ledger, start
from .known import Known
from .servers import inside
from .trial import Plan, Report

RIGHT_AFTER_S = 0.05
"""Every second kill comes within this time after a restart, while lost texts run alone."""
LATER_S = 1.5
"""The other kills come within this time."""

CROWD = {"unary": 4, "batches": 1, "streams": 1}
ONE_CALLER = {"unary": 1}
"""Its text is always alone in the process, so a kill that meets it may seem to be its fault."""


@dataclass(frozen=True)
class Round:
    """The callers of one server, and its kills. After them a guilty text may come."""

    kills: int
    callers: Mapping[str, Any]
    has_guilty: bool = False


FULL = [Round(5, CROWD), Round(5, ONE_CALLER)] * 10 + [Round(2, CROWD, has_guilty=True)]
SHORT = [Round(2, CROWD, has_guilty=True)]


@dataclass
class Counts:
    """Kills, innocent texts that became poison, and guilty texts that were found."""

    kills: int = 0
    at_start: int = 0
    innocents: int = 0
    guilty: int = 0


def kill_blindly(plan: Plan, report: Report) -> None:
    """Kill workers at random moments, and add the findings."""
    rounds: Sequence[Round] = SHORT if plan.is_short else FULL
    drawn, counts, ledger = random.Random(1), Counts(), None
    for number, each in enumerate(rounds):
        with inside(plan, Succession(dies_on_long_texts), batch_tokens=256) as server:
            ledger = ledger or Ledger(Known.ask(server.target, 200, (5, 30)))
            _round(server, each, ledger, counts, drawn)
        plan.say(
            f"server {number + 1}: {counts.kills} blind kills, {counts.innocents} innocent texts"
        )
    assert ledger is not None
    guilty = sum(each.has_guilty for each in rounds)
    what = f"{counts.kills} blind kills, {counts.at_start} of them right after a restart"
    found = f"{counts.innocents} of {ledger.asked:,}"
    report.add(f"{what}: innocent texts rejected", "0", found, not counts.innocents)
    found = f"{counts.guilty} of {guilty}"
    report.add("guilty texts found after blind kills", str(guilty), found, counts.guilty == guilty)
    ledger.report(report, "callers during blind kills")


def _round(
    server: Server, each: Round, ledger: Ledger, counts: Counts, drawn: random.Random
) -> None:
    served = server.registry.served("", "model")
    engine = served.engine
    assert isinstance(engine, WorkerPool)
    with ExitStack() as ends:
        start(ends, server.target, ledger, **each.callers)
        assert ledger.wait_for_answers(5)
        for number in range(each.kills):
            threading.Event().wait(drawn.uniform(0, RIGHT_AFTER_S if number % 2 else LATER_S))
            [pid] = engine.pids
            os.kill(pid, signal.SIGKILL)
            counts.kills += 1
            counts.at_start += number % 2
            assert eventually(lambda old=pid: engine.pids not in ((), (old,)), PATIENCE_S)  # type: ignore[misc]
        assert ledger.wait_for_answers(5)
        counts.innocents += served.dispatcher.poison_inputs().count
        if each.has_guilty:
            counts.guilty += _is_found(server)


def _is_found(server: Server) -> bool:
    """Whether the server rejects a text that kills every process that computes it."""
    with Client(server.target, timeout_s=PATIENCE_S) as client:
        try:
            client.classify(f"{embedded_words()[0]} " * 400)
        except PoisonInputError:
            return True
    return False
