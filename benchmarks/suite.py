"""The parts of a run, their order and their cores.

Every part returns JSON values, one for each round; compared programs take turns within a round.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from classwire_server.config.server_config import EMBEDDED_FOLDER

from . import checkpoints, lone, long_calls, memory
from .checkpoints import BERT_BASE, BERT_ENGLISH, SMALL, TINY, Shape
from .fleet import measuring as fleet
from .instrument import Instrument, MeasurementError
from .machine import has_bfloat16
from .peers.comparison import Comparison
from .plan import (
    BFLOAT16,
    BIG_CALLS,
    CLIENT_CALLS,
    FLOAT32,
    LATENCY_CALLS,
    SMALL_CALLS,
    Plan,
    fewer,
)
from .ray import measuring as ray
from .serving import Serving, serve_and_load
from .start import Starts
from .windows import NLI_LABELS
from .workload import mixed

BUSY_THREADS = 4
BUSY_TOKENS = 64
CALL_TOKENS = 16
SLOW_TEXTS = 20
"""Texts for an engine whose precision has no instructions on this processor."""


class Suite:
    """One run of a plan. `work` keeps checkpoints and compiled models; `say` prints progress."""

    def __init__(self, plan: Plan, work: Path, say: Callable[[str], None]) -> None:
        self.plan = plan
        self.missing: list[str] = []
        self._work = work
        self._say = say
        cores = sorted(os.sched_getaffinity(0))
        self._all, self._first, self._last = cores, cores[:1], cores[-1:]
        self.cache = work / "compiled"
        self.cache.mkdir(mode=0o700, exist_ok=True)

    def folder(self, shape: Shape) -> Path:
        """Return the folder of a shape's checkpoint; the first call writes it."""
        folder = self._work / shape.name.replace(" ", "-").replace(",", "")
        if not (folder / "tokenizer.json").exists():
            self._say(f"writing {shape.name} with random weights")
            checkpoints.save(shape, folder)
        return folder

    def engines(self) -> dict[str, Any]:
        """Measure ceilings and engines alone, in one process of one thread, on the last core."""
        plan, folder = self.plan, str(self.folder(self.plan.shape))
        lengths = mixed().first(plan.engine_texts).lengths
        ceilings: dict[str, dict[str, list[float]]] = {p: {} for p in plan.precisions}
        engines: dict[str, dict[str, Any]] = {}
        with Instrument("benchmarks.engines", self._last) as instrument:
            for name in plan.engines:
                self._say(f"engines: preparing {name}")
                with self.or_missing(name):
                    about = instrument.ask(
                        "prepare", engine=name, folder=folder, cache=str(self.cache)
                    )
                    texts = SLOW_TEXTS if name == BFLOAT16 else len(lengths)
                    engines[name] = {
                        "about": about,
                        "texts": texts,
                        "tokens": sum(lengths[:texts]),
                        "seconds": [],
                    }
            for turn in range(plan.rounds):
                for precision, kernels in ceilings.items():
                    self._say(f"round {turn + 1} of {plan.rounds}: ceiling of {precision}")
                    for kernel, rate in instrument.ask("ceiling", precision=precision).items():
                        kernels.setdefault(kernel, []).append(rate)
                for name, engine in engines.items():
                    self._say(f"round {turn + 1} of {plan.rounds}: {name}")
                    part = lengths[: engine["texts"]]
                    with self.or_missing(name):
                        engine["seconds"].append(instrument.ask("run", engine=name, lengths=part))
        return {
            "shape": plan.shape.name,
            "linear_flops_per_token": plan.shape.linear_flops_per_token,
            "attention_share": plan.shape.attention_flops(lengths)
            / (plan.shape.linear_flops_per_token * sum(lengths)),
            "longest_tokens": max(lengths),
            "core": self._last,
            "ceilings": ceilings,
            "engines": {n: e for n, e in engines.items() if len(e["seconds"]) == plan.rounds},
        }

    def served(self) -> list[dict[str, Any]]:
        """Measure servers under load; for some ratios pinned, in turns with their engine alone."""
        plan, records = self.plan, []
        shape, small = plan.shape, self.folder(SMALL)
        lengths, sixteen = mixed().lengths, (16,) * 1_024
        wanted = [
            Serving(SMALL.name, small, "float32", sixteen, plan.calls(SMALL_CALLS[-1:]), True),
            Serving(
                SMALL.name, small, "float32", sixteen, plan.calls((*SMALL_CALLS, *CLIENT_CALLS))
            ),
        ]
        if not plan.is_short:
            big = self.folder(shape)
            wanted += [
                Serving(shape.name, big, "float32", lengths, BIG_CALLS[-1:], True),
                Serving(shape.name, big, "int8", lengths, (*BIG_CALLS, *LATENCY_CALLS), True),
                Serving("embedded", EMBEDDED_FOLDER, "float32", lengths, fewer(SMALL_CALLS)),
            ]
            if has_bfloat16():
                wanted.insert(
                    3, Serving(shape.name, big, "bfloat16", lengths, BIG_CALLS[-1:], True)
                )
            else:
                self.missing.append("served in bfloat16: the processor has no instructions for it")
        for serving in wanted:
            with self.or_missing(serving.name):
                records.append(
                    serve_and_load(serving, plan.rounds, self.cache, self._all, self._say)
                )
        return records

    def interference(self) -> dict[str, Any]:
        """Measure a forward pass with and without busy Python threads in the server's process.

        The engine runs in a worker's process, and in the process of the threads.
        """
        folder = str(self.folder(SMALL if self.plan.is_short else self.plan.shape))
        here: dict[str, list[float]] = {"idle_s": [], "busy_s": []}
        worker: dict[str, list[float]] = {"idle_s": [], "busy_s": []}
        cache = str(self.cache)
        with (
            Instrument("benchmarks.interference", self._first) as server,
            Instrument("benchmarks.engines", self._all) as alone,
        ):
            self._say("interference: preparing")
            server.ask("prepare", folder=folder, cores=self._last)
            alone.ask("prepare", engine=FLOAT32, folder=folder, cache=cache)
            for turn in range(max(3, self.plan.rounds)):
                self._say(f"interference: round {turn + 1}")
                for kind, busy in (("idle_s", 0), ("busy_s", BUSY_THREADS)):
                    how = {"tokens": BUSY_TOKENS, "busy": busy}
                    forwards = server.ask("with_busy_threads", repetitions=9, **how)["forward_s"]
                    worker[kind].append(sorted(forwards)[len(forwards) // 2])
                    times = alone.ask("with_busy_threads", engine=FLOAT32, repetitions=3, **how)
                    here[kind].append(sorted(times)[len(times) // 2])
        return {"tokens": BUSY_TOKENS, "threads": BUSY_THREADS, "worker": worker, "here": here}

    def windows(self) -> dict[str, Any]:
        """Measure calls that the model gets as many inputs, and short calls next to them."""
        of = SMALL if self.plan.is_short else self.plan.shape
        shape = dataclasses.replace(of, name=f"{of.name}, NLI", labels=NLI_LABELS)
        taken = long_calls.measure(self.folder(shape), self.plan, self._say)
        return {"checkpoint": of.name, **taken}

    def memory(self) -> dict[str, Any]:
        """Measure the memory of servers with their workers, at rest after calls."""
        folder, total_bytes = self.folder(BERT_BASE), {}
        for name, shape, precision in (
            ("float32", BERT_BASE, "float32"),
            ("int8", BERT_BASE, "int8"),
            ("int8, 110 M parameters", BERT_ENGLISH, "int8"),
        ):
            self._say(f"memory: {name}")
            with self.or_missing(f"memory of {name}"):
                total_bytes[name] = memory.after_calls(shape, self.folder(shape), precision)
        self._say("memory: small models")
        return {
            "weights_bytes": (folder / "model.safetensors").stat().st_size,
            "total_bytes": total_bytes,
            "small_bytes": memory.of_small_models(self.folder(TINY)),
        }

    def start(self) -> dict[str, Any]:
        """Measure starts of servers, of a worker after a kill, and of a further model."""
        starts = Starts(
            self.folder(BERT_BASE), self.folder(TINY), self._work / "start-cache", self._say
        )
        starts.warm_up()
        for turn in range(self.plan.rounds):
            starts.measure(f"start: round {turn + 1} of {self.plan.rounds}")
        return starts.taken

    def lone(self) -> dict[str, Any]:
        """Measure a call on an idle server, and what a small model leaves of the echo's rate."""
        small = Serving(SMALL.name, self.folder(SMALL), "float32", (CALL_TOKENS,), SMALL_CALLS[1:2])
        return {
            "call": lone.measure(self.folder(BERT_BASE), self.plan.rounds, self._say),
            "small": serve_and_load(small, self.plan.rounds, self.cache, self._all, self._say),
        }

    def peers(self) -> dict[str, Any]:
        """Measure engines of other projects in turns with ours, on the last two cores."""
        folder = self.folder(self.plan.shape)
        compared = Comparison(self.plan, folder, self._work, self._all[-2:], self._say)
        return compared.measure(self.or_missing)

    def fleet(self) -> dict[str, Any]:
        """Measure one replica and two behind Envoy, each on a core of its own."""
        wanted = fleet.subjects(self.plan, self.folder(self.plan.shape))
        return fleet.measure(wanted, self.plan.rounds, self._work, self._say, self.or_missing)

    def ray(self) -> dict[str, Any]:
        """Measure a job of Ray Data in turns with one server's stream."""
        return ray.measure(self.plan, self.folder(self.plan.shape), self._all, self._say)

    @contextmanager
    def or_missing(self, what: str) -> Iterator[None]:
        """Record a failure of the block in the result, and continue."""
        try:
            yield
        except MeasurementError as failure:
            self.missing.append(f"{what}: {failure}")
            self._say(f"missing: {what}: {failure}")
