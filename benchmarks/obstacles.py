"""Costs that keep a server below its ceilings: forward pass, memory, calls.

    python -m benchmarks.obstacles [--work FOLDER]

Prints short tables. The forward pass uses a slice of BERT-base with random weights, the calls use
the benchmark's small checkpoint. `--work` keeps checkpoints and compiled models.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .checkpoints import BERT_SLICE, SMALL
from .figures import digits
from .instrument import Instrument, MeasurementError, end_on_sigterm, processor_s
from .plan import FULL
from .served import CLASSWIRE, ECHO, Served
from .suite import Suite

CORES = sorted(os.sched_getaffinity(0))
IN_FLIGHT = 32
CALLS = 4_096

IMPORTS = {
    "nothing": "pass",
    "imports of a server's process": "import classwire_server.server",
    "torch": "import torch",
    "torch and transformers' BERT": "import torch; from transformers import "
    "BertForSequenceClassification",
    "imports of a worker": "import classwire_server.engine.selection.choice, "
    "transformers.models.bert.modeling_bert",
}
MEASURE = "; import os; from benchmarks.served import pss_bytes; print(pss_bytes(os.getpid()))"


def shares_of_a_pass(folder: Path, cache: Path) -> dict[str, float]:
    """Return operators' shares of an int8 compiled forward pass on one thread, from a profile."""
    from torch.profiler import ProfilerActivity, profile

    from classwire_server.config.model_source import ModelSource
    from classwire_server.config.server_config import ServerConfig
    from classwire_server.engine.packing import pack
    from classwire_server.engine.selection.changeover import compiled
    from classwire_server.engine.selection.choice import select

    from .batching import encodings
    from .workload import mixed

    source = ModelSource("measured", str(folder))
    config = ServerConfig(
        device="cpu",
        precision="int8",
        compile_cache=str(cache),
        lanes=1,
        threads=1,
        batch_tokens=512,
    )
    changed = compiled(select(source, config, "cpu"), source, config)
    if changed is None:
        raise MeasurementError("no compiled engine on this machine")
    runner, _ = changed
    batch = pack(encodings(mixed().first(12).lengths))
    for _ in range(3):
        runner.run(batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(5):
            runner.run(batch)
    kinds = {"qlinear": "int8 products", "attention": "attention, float32"}
    spent: Counter[str] = Counter()
    for event in profiled.key_averages():
        kind = next((name for key, name in kinds.items() if key in event.key), "other")
        spent[kind] += event.self_cpu_time_total
    return {kind: microseconds / spent.total() for kind, microseconds in spent.most_common()}


def memory_of_imports_mb() -> dict[str, float]:
    """Return megabytes of an interpreter after imports."""
    return {
        name: int(
            subprocess.run(
                [sys.executable, "-c", statement + MEASURE],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            ).stdout
        )
        / 1e6
        for name, statement in IMPORTS.items()
    }


def processor_us_of_a_call(folder: Path) -> dict[str, float]:
    """Return processor time in microseconds of a unary call of 16 tokens, by process."""
    with ExitStack() as ends:
        load = ends.enter_context(Instrument("benchmarks.load", CORES))
        server = ends.enter_context(Served(*CLASSWIRE, "--model", f"m={folder}"))
        echo = ends.enter_context(Served(*ECHO))
        own, worker = server.pid, server.workers[0]
        how: dict[str, Any] = {"shape": "unary", "lengths": [16] * CALLS, "in_flight": IN_FLIGHT}
        taken: dict[str, float] = {}
        for target, pids in (
            (server.target, {"the server's process": own, "its worker": worker}),
            (echo.target, {"the echo's process": echo.pid}),
        ):
            load.ask("run", target=target, **how)
            before = {name: processor_s(pid) for name, pid in pids.items()}
            load.ask("run", target=target, **how)
            for name, pid in pids.items():
                taken[name] = 1e6 * (processor_s(pid) - before[name]) / CALLS
        return taken


def _print(title: str, unit: str, rows: dict[str, float]) -> None:
    print(f"| {title} | {unit} |\n|---|---:|")
    for name, value in rows.items():
        print(f"| {name} | {digits(value)} |")
    print(flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, help="folder for checkpoints and compiled models")
    arguments = parser.parse_args()
    end_on_sigterm()
    with ExitStack() as ends:
        work = arguments.work or Path(ends.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        suite = Suite(FULL, work.absolute(), lambda line: print(line, file=sys.stderr))
        print("calls to a server and to an echo", file=sys.stderr)
        calls = processor_us_of_a_call(suite.folder(SMALL))
        _print("a unary call of 16 tokens, 32 in flight", "processor time, us", calls)
        print("imports", file=sys.stderr)
        _print("an interpreter with", "MB", memory_of_imports_mb())
        print("a profile", file=sys.stderr)
        shares = shares_of_a_pass(suite.folder(BERT_SLICE), suite.cache)
        _print(f"{BERT_SLICE.name}, int8, compiled", "share", shares)


if __name__ == "__main__":
    main()
