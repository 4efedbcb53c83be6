"""One server under load, in turns with its engine alone or with an echo server."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .figures import quantile
from .instrument import Instrument, processor_s
from .plan import STREAM_32, Call
from .served import CLASSWIRE, ECHO, Served

COMPILE_TIMEOUT_S = 300.0
CHANGED_OVER = "compiled, labels agree|not compiled"
"""Log text at the end of a compilation, successful or not."""


@dataclass(frozen=True)
class Serving:
    """A checkpoint to serve compiled, the lengths of the texts, and the calls.

    If pinned, server and load run on the first core and the worker on the last one, with one lane
    of one thread; the engine alone takes turns on the last core. Otherwise all processes share all
    cores, the server chooses its lanes, and an echo server takes turns with it.
    """

    checkpoint: str
    folder: Path
    precision: str
    lengths: Sequence[int]
    calls: tuple[Call, ...]
    is_pinned: bool = False

    @property
    def name(self) -> str:
        """The name in progress lines and results."""
        return f"served {self.checkpoint}, {self.precision}"

    def lengths_of(self, call: Call) -> list[int]:
        """Return the lengths of a call's texts, in tokens."""
        return [self.lengths[n % len(self.lengths)] for n in range(call.texts)]


def serve_and_load(
    serving: Serving,
    rounds: int,
    cache: Path,
    cores: Sequence[int],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Measure every call in each round. Raises MeasurementError if the server does not start."""
    first, last = (cores[:1], cores[-1:]) if serving.is_pinned else (cores, cores)
    options = ["--model", f"m={serving.folder}", "--precision", serving.precision]
    options += ["--compile", "--compile-cache", str(cache)]
    options += ["--lanes", "1", "--threads", "1"] if serving.is_pinned else []
    engine = f"packed {serving.precision}, compiled"
    record: dict[str, Any] = {
        "checkpoint": serving.checkpoint,
        "precision": serving.precision,
        "pinned": serving.is_pinned,
        "cores": {"server": first, "load": first, "worker": last},
        "calls": [
            {
                "shape": call.shape,
                "in_flight": call.in_flight,
                "rounds": [],
                "echo": [],
                "alone": [],
            }
            for call in serving.calls
        ],
    }
    say(f"{serving.name}: starting")
    with ExitStack() as ends:
        load = ends.enter_context(Instrument("benchmarks.load", first))
        reference: Instrument | Served
        if serving.is_pinned:
            reference = ends.enter_context(Instrument("benchmarks.engines", last))
        else:
            reference = ends.enter_context(Served(*ECHO))
        server = ends.enter_context(Served(*CLASSWIRE, *options))
        server.wait_for_log(CHANGED_OVER, COMPILE_TIMEOUT_S)
        if serving.is_pinned:
            server.pin(first, last)
        if isinstance(reference, Instrument):
            how = {"folder": str(serving.folder), "cache": str(cache)}
            record["alone"] = reference.ask("prepare", engine=engine, **how)
        words = serving.checkpoint
        for turn in range(-1, rounds):  # round -1 warms up
            for call, entry in zip(serving.calls, record["calls"], strict=True):
                say(f"{serving.name}: round {turn + 1} of {rounds}: {call.shape}, {call.in_flight}")
                lengths = serving.lengths_of(call)
                if turn < 0:
                    lengths = lengths[:64]
                arguments = {"shape": call.shape, "lengths": lengths, "in_flight": call.in_flight}
                sample = loaded(load, server, words=words, **arguments)
                rounds_of = [("rounds", summary(sample, lengths))]
                if isinstance(reference, Instrument) and call.shape == STREAM_32:
                    took_s = reference.ask("run", engine=engine, lengths=lengths)
                    rounds_of.append(("alone", {"texts_per_s": len(lengths) / took_s}))
                elif isinstance(reference, Served) and not call.shape.startswith("Client"):
                    echoed = loaded(load, reference, words=words, **arguments)
                    rounds_of.append(("echo", summary(echoed, lengths)))
                if turn >= 0:
                    for kind, taken in rounds_of:
                        entry[kind].append(taken)
    return record


def loaded(load: Instrument, server: Served, **how: Any) -> dict[str, Any]:
    """Load a server; returns the sample, with the processor time of all processes, a text."""
    processes = {"server": [server.pid], "workers": server.workers, "load": [load.pid]}
    return with_processor_time(load, processes, target=server.target, **how)


def with_processor_time(
    load: Instrument, processes: Mapping[str, Sequence[int]], **how: Any
) -> dict[str, Any]:
    """Run a load; returns its sample, with the processor time of these processes, a text."""

    def used_s() -> dict[str, float]:
        return {name: sum(map(processor_s, pids)) for name, pids in processes.items()}

    before_s = used_s()
    sample: dict[str, Any] = load.ask("run", **how)
    sample["processor_s"] = {
        name: (after_s - before_s[name]) / sample["texts"] for name, after_s in used_s().items()
    }
    return sample


def summary(sample: dict[str, Any], lengths: Sequence[int]) -> dict[str, Any]:
    """Return a sample's rates, latency quantiles, processor times and engines."""
    latencies_s, seconds = sample["latencies_s"], sample["seconds"]
    over_s = [
        whole - inner for whole, inner in zip(latencies_s, sample["inference_s"], strict=False)
    ]
    return {
        "texts_per_s": sample["texts"] / seconds,
        "tokens_per_s": sum(lengths) / seconds,
        "p50_s": quantile(latencies_s, 0.5),
        "p95_s": quantile(latencies_s, 0.95),
        "p99_s": quantile(latencies_s, 0.99),
        "over_inference_p50_s": quantile(over_s, 0.5),
        "processor_s": sample["processor_s"],
        "mean_batch_texts": statistics.mean(sample["batch_texts"]),
        "computed_by": sample["computed_by"],
        "failed": sample["failed"],
    }
