"""A part: the engine alone, lone texts with and without graphs, and transformers next to it."""

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import checkpoints
from benchmarks.batching import batches, encodings, in_batches, padded
from benchmarks.figures import quantile
from benchmarks.instrument import seconds_of
from benchmarks.workload import mixed
from classwire_server.engine import Precision
from classwire_server.engine.forward.attention import gpu_attention
from classwire_server.engine.forward.buckets import buckets
from classwire_server.engine.forward.graphs import GraphedEngine, captures_on, with_graphs
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.forward.runner import Runner
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.errors import telling_line

from .parts import emit, redirect
from .plan import PLANS, GpuPlan

LONGEST = 512
LANES = 2
MIXED_BATCH_TOKENS = 16_384


class EngineBenchmark:
    """A classifier in the plan's precision on a device. For one thread."""

    def __init__(self, plan: GpuPlan, device: str) -> None:
        self.plan = plan
        self.device = device
        model = checkpoints.build(plan.shape).to(device)  # type: ignore[arg-type]
        if plan.precision is not Precision.FLOAT32:
            convert(model, plan.precision)
        packed = PackedModel(model, frozenset({"token_type_ids"}))
        self.engine = PackedEngine(packed, device, plan.precision)

    def about(self) -> None:
        """Say what is measured."""
        if self.device.startswith("cuda"):
            choice = gpu_attention(self.plan.precision, self.device)
            emit("attention", value=choice.value, why=choice.why)

    def ceilings(self) -> None:
        """Measure a large product of matrices, and the products of one layer at full batches."""
        size = self.plan.matrix
        left, right = (self._random(size, size) for _ in range(2))
        self._ceiling("product of matrices", lambda: left @ right, 2 * size**3)
        hidden, inner = self.plan.shape.hidden, self.plan.shape.intermediate
        tokens = max(self.plan.batch_tokens)
        weights = [self._random(a, b) for a, b in [*[(hidden, hidden)] * 4, (hidden, inner)]]
        last = self._random(inner, hidden)
        states = self._random(tokens, hidden)

        def layer() -> torch.Tensor:
            for weight in weights:
                wide = states @ weight
            return wide @ last

        operations = tokens * self.plan.shape.linear_flops_per_token // self.plan.shape.layers
        self._ceiling("products of a layer", layer, operations)

    def rates(self) -> None:
        """Measure tokens per second by the length of the texts and the size of the batch."""
        for length, tokens in itertools.product(self.plan.lengths, self.plan.batch_tokens):
            batch = batch_of([length] * (tokens // length))
            rates = self._rates(self.engine, batch)
            emit("rate", length=length, batch_tokens=tokens, tokens_per_s=rates, lanes=1)
        length, tokens = self.plan.lengths[-2], self.plan.batch_tokens[-2]
        batch = batch_of([length] * (tokens // length))
        with ThreadPoolExecutor(LANES) as lanes:

            def both() -> None:
                for done in [lanes.submit(self.engine.run, batch) for _ in range(LANES)]:
                    done.result()

            rates = self._timed(both, LANES * len(batch.ids))
        emit("rate", length=length, batch_tokens=tokens, tokens_per_s=rates, lanes=LANES)

    def graphs(self) -> None:
        """Measure lone texts and small batches with graphs and without."""
        self._lone("without", self.engine)
        self._small("without", self.engine)
        try:
            started_s = time.perf_counter()
            graphed = with_graphs(self.engine, LONGEST)
            emit("graphs", seconds=time.perf_counter() - started_s, why="")
        except Exception as error:  # the figures without graphs still count
            emit("graphs", seconds=0.0, why=telling_line(error))
            return
        self._lone("with", graphed)
        sizes = buckets(LONGEST, max(self.plan.small_batches))
        larger = GraphedEngine(self.engine, sizes, captures_on(self.device))
        self._small("with", larger)

    def transformers(self) -> None:
        """Measure real lengths, by the engine and by transformers with SDPA, padded and sorted."""
        texts = encodings(mixed().first(self.plan.mixed_texts).lengths)
        tokens = sum(len(text.ids) for text in texts)
        packed = [pack(batch) for batch in batches(texts, MIXED_BATCH_TOKENS)]

        def ours() -> None:
            for batch in packed:
                self.engine.run(batch)

        emit("mixed", engine="Classwire", tokens_per_s=self._timed(ours, tokens))
        model: Any = self.engine.model.unpack()
        attention = model.config._attn_implementation
        by_length = sorted(texts, key=lambda text: len(text.ids))

        @torch.inference_mode()
        def run(batches: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
            for ids, mask in batches:
                fed = (torch.from_numpy(each).to(self.device) for each in (ids, mask))
                model(*fed).logits.float().cpu()

        for size in self.plan.padded_by:
            for order, ordered in (("padded", texts), ("sorted", by_length)):
                rows = [padded(batch) for batch in in_batches(ordered, size)]
                name = f"transformers, {attention}, {order} by {size}"
                emit("mixed", engine=name, tokens_per_s=self._timed(partial(run, rows), tokens))

    def _lone(self, graphs: str, runner: Runner) -> None:
        for tokens in self.plan.lone_tokens:
            text = batch_of([tokens])
            runner.run(text)
            times_s = [seconds_of(partial(runner.run, text)) for _ in range(self.plan.lone_runs)]
            p50_ms, p95_ms = (1e3 * quantile(times_s, share) for share in (0.5, 0.95))
            emit("lone", graphs=graphs, tokens=tokens, p50_ms=p50_ms, p95_ms=p95_ms)

    def _small(self, graphs: str, runner: Runner) -> None:
        for tokens in self.plan.small_batches:
            length = min(64, tokens)
            rates = self._rates(runner, batch_of([length] * (tokens // length)))
            emit("small", graphs=graphs, batch_tokens=tokens, tokens_per_s=rates)

    def _rates(self, runner: Runner, batch: PackedTexts) -> list[float]:
        return self._timed(lambda: runner.run(batch), len(batch.ids))

    def _timed(self, run: Callable[[], object], tokens: int) -> list[float]:
        """Tokens per second in each round. `run` waits for the device."""
        run()
        run()
        return [
            tokens * runs / seconds
            for runs, seconds in (self._round(run) for _ in range(self.plan.rounds))
        ]

    def _round(self, run: Callable[[], object]) -> tuple[int, float]:
        runs, started_s = 0, time.perf_counter()
        while (seconds := time.perf_counter() - started_s) < self.plan.seconds / self.plan.rounds:
            run()
            runs += 1
        return runs, seconds

    def _ceiling(self, name: str, product: Callable[[], torch.Tensor], operations: int) -> None:
        @torch.inference_mode()
        def ten() -> None:
            for _ in range(10):
                product()
            self._synchronize()

        rates = self._timed(ten, 10 * operations)
        emit("ceiling", name=name, flops=rates)

    def _synchronize(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

    def _random(self, rows: int, columns: int) -> torch.Tensor:
        return torch.randn(rows, columns, device=self.device, dtype=torch.bfloat16)


def batch_of(lengths: Sequence[int]) -> PackedTexts:
    """A batch of random texts of these lengths."""
    return pack(encodings(lengths))


def main() -> None:
    """Measure everything that needs no server. Arguments: plan and device."""
    redirect()
    plan, device = PLANS[sys.argv[1]], sys.argv[2]
    if device == "cuda":
        device = "cuda:0"
    torch.set_num_threads(1)
    bench = EngineBenchmark(plan, device)
    bench.about()
    for measure in (bench.rates, bench.graphs, bench.transformers, bench.ceilings):
        try:
            measure()
        except Exception as error:  # the other figures still count
            emit("missing", name=measure.__name__, why=telling_line(error))


if __name__ == "__main__":
    main()
