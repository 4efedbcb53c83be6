"""Calls that the model gets as many inputs: windows, Rank and zero-shot.

Each takes turns with a batch of the same inputs. Then short calls come next to a text of many
windows. Server and load run on the first core, and the worker on the last.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .figures import quantile
from .instrument import Instrument
from .load import TIMEOUT_S
from .plan import Plan
from .progress import Say
from .served import CLASSWIRE, Served
from .windows import CALLS

SHORT_TOKENS = 16


def measure(folder: Path, plan: Plan, say: Say) -> dict[str, Any]:
    """Return seconds of calls and batches, and p99 of short calls, by round.

    `folder` has a checkpoint with the labels of NLI. Raises MeasurementError.
    """
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[:1], cores[-1:]
    command = [*CLASSWIRE, "--model", f"m={folder}", "--lanes", "1", "--threads", "1"]
    command += ("--max-text-bytes", "1000000", "--default-timeout-s", str(TIMEOUT_S))
    compared: dict[str, dict[str, list[float]]] = {}
    p99_s: dict[str, list[float]] = {"idle": [], "bulk": [], "interactive": []}
    with ExitStack() as ends:
        server = ends.enter_context(Served(*command))
        long = ends.enter_context(Instrument("benchmarks.windows", first))
        load = ends.enter_context(Instrument("benchmarks.load", first))
        server.pin(first, last)
        lengths = [SHORT_TOKENS] * plan.interactive_calls
        short = {"target": server.target, "shape": "unary", "lengths": lengths, "in_flight": 1}
        for call in CALLS:
            long.ask("compare", target=server.target, call=call, turns=1)  # warms up
        for turn in range(plan.rounds):
            for call in CALLS:
                say(f"windows: round {turn + 1} of {plan.rounds}: {call}")
                taken = long.ask("compare", target=server.target, call=call, turns=plan.turns)
                for side, seconds in taken.items():
                    compared.setdefault(call, {}).setdefault(side, []).append(seconds)
            for state in p99_s:
                say(f"windows: round {turn + 1} of {plan.rounds}: calls, {state}")
                if state != "idle":
                    long.ask("begin", target=server.target, priority=state)
                p99_s[state].append(quantile(load.ask("run", **short)["latencies_s"], 0.99))
                if state != "idle":
                    long.ask("end")
    return {"compared": compared, "p99_s": p99_s}
