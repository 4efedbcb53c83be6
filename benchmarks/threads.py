"""How torch's threads wait for each other, on idle and on busy cores.

    python -m benchmarks.threads [--tokens 64] [--rounds 3]

Each setting runs in a process of its own, alone and beside another process that computes; the
settings take turns. One text of so many tokens, one forward pass at a time, BERT-base with random
weights, packed, float32.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .checkpoints import BERT_BASE, save
from .instrument import Instrument
from .plan import FLOAT32

CORES = sorted(os.sched_getaffinity(0))
SETTINGS: dict[str, tuple[int, dict[str, str]]] = {
    "all cores, spinning": (len(CORES), {"OMP_WAIT_POLICY": "active"}),
    "all cores, sleeping": (len(CORES), {"OMP_WAIT_POLICY": "passive"}),
    "one thread": (1, {"OMP_WAIT_POLICY": "passive"}),
}
REPETITIONS = 9
BUSY = "while True: pass"


@contextmanager
def busy_process() -> Iterator[None]:
    """One more process, which computes without a pause until the end of the block."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        try:
            yield
        finally:
            other.kill()


def main() -> None:
    """Print a table of milliseconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    taken: dict[tuple[str, bool], list[float]] = defaultdict(list)
    with ExitStack() as ends:
        folder = ends.enter_context(tempfile.TemporaryDirectory())
        save(BERT_BASE, Path(folder))
        instruments = {}
        for name, (threads, environment) in SETTINGS.items():
            instrument = Instrument("benchmarks.engines", CORES, environment)
            instruments[name] = ends.enter_context(instrument)
            instrument.ask("prepare", engine=FLOAT32, folder=folder, cache=folder, threads=threads)
        for turn in range(arguments.rounds):
            for busy in (False, True):
                for name, instrument in instruments.items():
                    print(f"round {turn + 1} of {arguments.rounds}: {name}", file=sys.stderr)
                    with ExitStack() as beside:
                        if busy:
                            beside.enter_context(busy_process())
                        seconds = instrument.ask(
                            "beside_threads",
                            engine=FLOAT32,
                            tokens=arguments.tokens,
                            busy=0,
                            repetitions=REPETITIONS,
                        )
                    taken[name, busy].append(statistics.median(seconds))
    print(
        f"BERT-base, {arguments.tokens} tokens, {len(CORES)} cores, {arguments.rounds} rounds\n\n"
        "| threads | alone, ms | beside a busy process, ms |\n|---|---:|---:|"
    )
    for name in SETTINGS:
        alone, beside_busy = (1e3 * statistics.median(taken[name, busy]) for busy in (False, True))
        print(f"| {name} | {alone:.1f} | {beside_busy:.1f} |")


if __name__ == "__main__":
    main()
