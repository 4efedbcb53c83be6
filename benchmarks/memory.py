"""Memory of servers at rest: PSS of the server and of all processes below it.

Other programs that run torch share its pages, and make the figures smaller.
"""

import os
import time
from pathlib import Path

from classwire_server.engine.worker.memory import IDLE_S

from .checkpoints import Shape
from .instrument import Instrument
from .plan import STREAM_32
from .served import CLASSWIRE, Served
from .start import answer, load_model
from .workload import mixed

TEXTS = 64


def after_calls(shape: Shape, folder: Path, precision: str) -> int:
    """Return the bytes of a server with one lane of one thread, at rest after calls."""
    command = (*CLASSWIRE, "--model", f"m={folder}", "--precision", precision)
    lengths = mixed().lengths[:TEXTS]
    how = {"shape": STREAM_32, "lengths": lengths, "in_flight": 32, "words": shape.name}
    with (
        Served(*command, "--lanes", "1", "--threads", "1") as server,
        Instrument("benchmarks.load", os.sched_getaffinity(0)) as load,
    ):
        load.ask("run", target=server.target, **how)
        return _at_rest(server)


def of_small_models(tiny: Path) -> dict[str, int]:
    """Return the bytes of a server with the embedded checkpoint, and what a further model adds."""
    with Served(*CLASSWIRE, "--admin-port", "0") as server:
        answer(server.target)
        embedded = _at_rest(server)
        load_model(server.admin, "second", tiny)
        return {"embedded": embedded, "further": _at_rest(server) - embedded}


def _at_rest(server: Served) -> int:
    time.sleep(2 * IDLE_S)
    return server.memory_bytes()
