"""Compares lanes and threads: how to divide a CPU's cores, idle and busy.

    python -m benchmarks.threads [--tokens 128] [--rounds 5]

Each division of the cores runs in a process of its own, alone and next to another process that
computes. They take turns. Each lane computes one text of `--tokens` tokens with BERT-base: random
weights, packed, float32, plain.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from .checkpoints import BERT_BASE, save
from .instrument import Instrument
from .plan import FLOAT32

CORES = sorted(os.sched_getaffinity(0))
REPETITIONS = 5
BUSY = "while True: pass"


@dataclass(frozen=True)
class Division:
    """Lanes of `threads` threads each, which spin or sleep while they wait for each other."""

    lanes: int
    threads: int
    waiting: str

    @property
    def name(self) -> str:
        """The name in the table."""
        if self.threads == 1:
            return f"{self.lanes} lanes of one thread"
        return f"one lane of {self.threads} threads, {self.waiting}"


DIVISIONS = (
    Division(1, len(CORES), "spinning"),
    Division(1, len(CORES), "sleeping"),
    Division(len(CORES), 1, "sleeping"),
)
POLICIES = {"spinning": "active", "sleeping": "passive"}


@contextmanager
def busy_process() -> Iterator[None]:
    """One more process, which computes without a pause until the end of the block."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        try:
            yield
        finally:
            other.kill()


def main() -> None:
    """Print a table: the time of a lone text, and what all lanes compute together."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    tokens = arguments.tokens
    lone: dict[tuple[Division, bool], list[float]] = defaultdict(list)
    full: dict[tuple[Division, bool], list[float]] = defaultdict(list)
    with ExitStack() as ends:
        folder = ends.enter_context(tempfile.TemporaryDirectory())
        save(BERT_BASE, Path(folder))
        instruments = {}
        for division in DIVISIONS:
            environment = {"OMP_WAIT_POLICY": POLICIES[division.waiting]}
            instrument = Instrument("benchmarks.engines", CORES, environment)
            instruments[division] = ends.enter_context(instrument)
            instrument.ask(
                "prepare", engine=FLOAT32, folder=folder, cache=folder, threads=division.threads
            )
        for turn in range(arguments.rounds):
            for busy in (False, True):
                for division, instrument in instruments.items():
                    print(
                        f"round {turn + 1} of {arguments.rounds}: {division.name}", file=sys.stderr
                    )
                    how = {"engine": FLOAT32, "tokens": tokens, "repetitions": REPETITIONS}
                    with busy_process() if busy else nullcontext():
                        alone = instrument.ask("at_once", lanes=1, **how)
                        together = instrument.ask("at_once", lanes=division.lanes, **how)
                    lone[division, busy].append(statistics.median(alone))
                    full[division, busy].append(statistics.median(together))
    print(
        f"BERT-base, texts of {tokens} tokens, {len(CORES)} cores, {arguments.rounds} rounds\n\n"
        "| cores divided into | a lone text, ms | with a busy process, ms | all lanes, tokens/s "
        "| with a busy process, tokens/s |\n|---|---:|---:|---:|---:|"
    )
    for division in DIVISIONS:
        times = [f"{1e3 * statistics.median(lone[division, busy]):.0f}" for busy in (False, True)]
        rates = [
            f"{tokens * division.lanes / statistics.median(full[division, busy]):.0f}"
            for busy in (False, True)
        ]
        print(f"| {division.name} | {' | '.join((*times, *rates))} |")


if __name__ == "__main__":
    main()
