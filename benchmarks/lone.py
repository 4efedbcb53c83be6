"""A call on an idle server: where its time goes besides the forward pass.

    python -m benchmarks.lone [--work FOLDER] [--rounds 5]

Server and load run on the first core, and the worker on the last. An echo that pauses for as long
as the forward pass shows what grpcio, the client and the system cost at this pace: after a pause,
caches are cold, and a thread takes longer to wake up.
"""

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .checkpoints import BERT_BASE, save
from .instrument import Instrument, end_on_sigterm, pin
from .progress import Say, progress
from .served import CLASSWIRE, ECHO, Served
from .server_tables import lone
from .serving import loaded

CALLS = 60
CALL_TOKENS = 16
UNARY = {"shape": "unary", "in_flight": 1}


def measure(folder: Path, rounds: int, say: Say) -> dict[str, Any]:
    """Measure calls of a BERT-base in float32, in turns with the echo."""
    cores = sorted(os.sched_getaffinity(0))
    first, last = cores[:1], cores[-1:]
    options = ("--model", f"m={folder}", "--precision", "float32", "--lanes", "1", "--threads", "1")
    how = {**UNARY, "lengths": [CALL_TOKENS] * CALLS}
    taken: dict[str, Any] = {"checkpoint": BERT_BASE.name, "served": [], "echo": []}
    with ExitStack() as ends:
        load = ends.enter_context(Instrument("benchmarks.load", first))
        say("lone: starting")
        server = ends.enter_context(Served(*CLASSWIRE, *options))
        server.pin(first, last)
        warm = load.ask("run", target=server.target, **how)
        taken["pause_s"] = statistics.median(warm["inference_s"])
        echo = ends.enter_context(Served(*ECHO, "--pause-s", str(taken["pause_s"])))
        pin(echo.pid, first)
        for turn in range(rounds):
            say(f"lone: round {turn + 1} of {rounds}")
            taken["served"].append(_stages(loaded(load, server, **how)))
            echoed = loaded(load, echo, **how)
            over_s = [latency_s - taken["pause_s"] for latency_s in echoed["latencies_s"]]
            taken["echo"].append(
                {"over_s": statistics.median(over_s), "processor_s": echoed["processor_s"]}
            )
    return taken


def _stages(sample: dict[str, Any]) -> dict[str, Any]:
    """The medians of a sample: each stage of a call, all but the pass, and processor times."""

    def median(*names: str) -> float:
        """The median of the first time less the others, over the calls."""
        columns: list[list[float]] = [sample[name] for name in names]
        left: list[float] = [first - sum(less) for first, *less in zip(*columns, strict=True)]
        return statistics.median(left)

    return {
        "grpc_s": median("latencies_s", "total_s"),
        "tokenize_s": median("tokenize_s"),
        "queue_s": median("queue_s"),
        "inference_s": median("inference_s"),
        "rest_s": median("total_s", "tokenize_s", "queue_s", "inference_s"),
        "over_s": median("latencies_s", "inference_s"),
        "processor_s": sample["processor_s"],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for the checkpoint")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as ends:
        work = arguments.work or Path(ends.enter_context(tempfile.TemporaryDirectory()))
        folder = work / BERT_BASE.name
        if not (folder / "tokenizer.json").exists():
            save(BERT_BASE, folder)
        print(lone(measure(folder, arguments.rounds, progress())))


if __name__ == "__main__":
    main()
