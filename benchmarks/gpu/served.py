"""A part: texts through gRPC, with one and several servers on the one device."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import checkpoints
from benchmarks.figures import quantile
from benchmarks.instrument import Instrument, MeasurementError
from benchmarks.plan import STREAM_32
from benchmarks.served import CLASSWIRE, Served

from .parts import emit, redirect
from .plan import GOAL_TOKENS, PLANS, GpuPlan

ROUNDS = 2
QUEUE_TOKENS = 4_000_000
"""Room for all texts in flight: streams may use half of it."""


class ServingBenchmark:
    """Servers and loads of one plan. `folder` has the checkpoint."""

    def __init__(self, plan: GpuPlan, device: str, folder: Path) -> None:
        self._plan = plan.served
        self._command = (
            *CLASSWIRE, "--model", f"m={folder}", "--device", device,
            "--precision", plan.precision.value, "--max-queue-tokens", str(QUEUE_TOKENS),
            "--stream-window-items", str(2 * plan.served.in_flight),
        )  # fmt: skip

    def measure(self, servers: int) -> None:
        """Measure streams of all loads at once, and lone calls if there is one server."""
        cores = sorted(os.sched_getaffinity(0))
        with ExitStack() as ends, ThreadPoolExecutor(servers * self._plan.loads) as threads:
            started_s = time.perf_counter()
            starts = [threads.submit(Served, *self._command) for _ in range(servers)]
            running = [ends.enter_context(start.result()) for start in starts]
            emit("started", servers=servers, seconds=time.perf_counter() - started_s)
            loads = [
                ends.enter_context(Instrument("benchmarks.load", cores))
                for _ in range(servers * self._plan.loads)
            ]
            targets = [server.target for server in running for _ in range(self._plan.loads)]
            if servers == 1:
                self._lone(loads[0], targets[0])
            for turn in range(-1, ROUNDS):  # round -1 warms up
                texts = self._plan.texts if turn >= 0 else max(1, self._plan.texts // 8)
                samples = list(threads.map(partial(self._stream, texts), loads, targets))
                if turn >= 0:
                    emit("served", servers=servers, **summary(samples))

    def _stream(self, texts: int, load: Instrument, target: str) -> Any:
        how = {"shape": STREAM_32, "in_flight": self._plan.in_flight}
        return load.ask("run", target=target, lengths=[GOAL_TOKENS] * texts, **how)

    def _lone(self, load: Instrument, target: str) -> None:
        lengths = [GOAL_TOKENS] * self._plan.lone_calls
        sample = load.ask("run", target=target, shape="unary", lengths=lengths, in_flight=1)
        p50_ms, engine_ms = (
            1e3 * quantile(sample[what], 0.5) for what in ("latencies_s", "inference_s")
        )
        emit("lone call", tokens=GOAL_TOKENS, p50_ms=p50_ms, engine_p50_ms=engine_ms)


def summary(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rates and latencies of loads that ran at once. Each load's rate is that of its own time."""
    batches = [texts for sample in samples for texts in sample["batch_texts"]]
    return {
        "tokens_per_s": sum(GOAL_TOKENS * s["texts"] / s["seconds"] for s in samples),
        "p50_ms": 1e3 * quantile([t for s in samples for t in s["latencies_s"]], 0.5),
        "mean_batch_texts": sum(batches) / len(batches),
        "failed": sum(sample["failed"] for sample in samples),
        "computed_by": sorted({by for sample in samples for by in sample["computed_by"]}),
    }


def main() -> None:
    """Measure with each number of servers. Arguments: plan and device."""
    redirect()
    plan, device = PLANS[sys.argv[1]], sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(plan.shape, Path(folder))
        bench = ServingBenchmark(plan, device, Path(folder))
        for servers in plan.served.servers:
            try:
                bench.measure(servers)
            except MeasurementError as failure:
                emit("missing", name=f"{servers} servers", why=str(failure))


if __name__ == "__main__":
    main()
