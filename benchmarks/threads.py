"""How torch's threads wait for each other, on idle and on busy cores.

    python -m benchmarks.threads [--hidden 768 --layers 12] [--tokens 64]

Each setting runs in a process of its own, alone and beside another process that computes; the
settings take turns. One text of so many tokens, one forward pass at a time, random weights, CPU.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack

SETTINGS: dict[str, dict[str, str]] = {
    "all cores, spinning": {},
    "all cores, sleeping": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
BUSY = "import time; end = time.monotonic() + 300\nwhile time.monotonic() < end: pass"


def measure(hidden: int, layers: int, tokens: int) -> None:
    """Print the median time of a forward pass, in milliseconds."""
    from transformers import BertConfig, BertForSequenceClassification

    from classwire_server.engine.packed import PackedEngine
    from classwire_server.tokenization import Encoding, Text

    config = BertConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        intermediate_size=4 * hidden,
    )
    engine = PackedEngine(BertForSequenceClassification(config).eval(), "cpu")
    batch = [Encoding([5] * tokens, [0] * tokens, 0, Text(""), None)]
    seconds = []
    for _ in range(12):
        started_s = time.perf_counter()
        engine.infer(batch)
        seconds.append(time.perf_counter() - started_s)
    print(f"{1e3 * statistics.median(seconds[2:]):.1f}")


def run(setting: dict[str, str], arguments: argparse.Namespace, busy: bool) -> float:
    """The median time of a forward pass with this setting, in milliseconds."""
    shape = [f"--{name}={getattr(arguments, name)}" for name in ("hidden", "layers", "tokens")]
    with ExitStack() as ends:
        if busy:
            other = ends.enter_context(subprocess.Popen([sys.executable, "-c", BUSY]))
            ends.callback(other.kill)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.threads", "--measure", *shape],
            env={**os.environ, **setting},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=300,
        )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print a table of milliseconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.hidden, arguments.layers, arguments.tokens)
        return
    taken: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for turn in range(arguments.rounds):
        for busy in (False, True):
            for name, setting in SETTINGS.items():
                print(f"\r\033[Kround {turn + 1} of {arguments.rounds}: {name}", end="", flush=True)
                taken[name, busy].append(run(setting, arguments, busy))
    print(
        f"\r\033[K{arguments.layers} layers of {arguments.hidden}, {arguments.tokens} tokens, "
        f"{os.cpu_count()} cores, {arguments.rounds} rounds\n\n"
        "| threads | alone, ms | beside a busy process, ms |\n|---|---|---|"
    )
    for name in SETTINGS:
        alone, beside = (statistics.median(taken[name, busy]) for busy in (False, True))
        print(f"| {name} | {alone:.1f} | {beside:.1f} |")


if __name__ == "__main__":
    main()
