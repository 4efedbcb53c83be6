"""Targets of the benchmark, and figures of a result. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .figures import Figure, figure, ratio
from .peers.goals import GOALS
from .plan import (
    FLOAT32,
    FLOAT32_COMPILED,
    INT8,
    INT8_COMPILED,
    PADDED,
    PRECISIONS,
    SORTED,
    STREAM_32,
)

Result = dict[str, Any]
"""A run of the benchmark, as in its JSON file."""


@dataclass(frozen=True)
class Target:
    """A bound on a figure; `measure` raises LookupError if a result lacks it."""

    name: str
    bound: float
    measure: Callable[[Result], Figure]
    is_upper: bool = False

    def is_met(self, value: Figure) -> bool:
        """Whether the median is within the bound."""
        return value.median < self.bound if self.is_upper else value.median >= self.bound


def rates(result: Result, engine: str) -> list[float]:
    """Return tokens per second of an engine alone, by round."""
    entry = result["engines"]["engines"][engine]
    return [entry["tokens"] / seconds for seconds in entry["seconds"]]


def ceiling(result: Result, precision: str) -> list[float]:
    """Return operations per second of the best kernel, by round."""
    kernels = result["engines"]["ceilings"][precision].values()
    rounds = min(map(len, kernels))
    return [max(kernel[turn] for kernel in kernels) for turn in range(rounds)]


def share_of_ceiling(result: Result, engine: str, precision: str) -> Figure:
    """Return the rate of an engine's linear layers, as a share of its precision's ceiling."""
    flops = result["engines"]["linear_flops_per_token"]
    return ratio([rate * flops for rate in rates(result, engine)], ceiling(result, precision))


def speedup(engine: str, reference: str) -> Callable[[Result], Figure]:
    """Return a measure: tokens per second of an engine divided by those of another."""
    return lambda result: ratio(rates(result, engine), rates(result, reference))


def serving(result: Result, checkpoint: str, *, pinned: bool, precision: str = "") -> Result:
    """Return the last record of a served checkpoint that fits."""
    fitting = [
        record
        for record in result["served"]
        if record["checkpoint"].startswith(checkpoint)
        and record["pinned"] is pinned
        and precision in record["precision"]
    ]
    found: Result = fitting[-1]
    return found


def call(record: Result, shape: str, in_flight: int | None = None) -> Result:
    """Return one call of a record."""
    for entry in record["calls"]:
        if entry["shape"] == shape and in_flight in (None, entry["in_flight"]):
            found: Result = entry
            return found
    raise LookupError(shape)


def _of_rounds(rounds: list[Result], field: str) -> list[float]:
    return [taken[field] for taken in rounds]


def _served_share(checkpoint: str, precision: str = "") -> Callable[[Result], Figure]:
    def measure(result: Result) -> Figure:
        entry = call(serving(result, checkpoint, pinned=True, precision=precision), STREAM_32)
        return ratio(
            _of_rounds(entry["rounds"], "texts_per_s"), _of_rounds(entry["alone"], "texts_per_s")
        )

    return measure


def _echo_share(result: Result) -> Figure:
    entry = call(serving(result, "small", pinned=False), "unary", 32)
    return ratio(
        _of_rounds(entry["rounds"], "texts_per_s"), _of_rounds(entry["echo"], "texts_per_s")
    )


def _overhead_ms(result: Result) -> Figure:
    """Return the overhead of the served checkpoint with the longest forward pass."""
    records = [serving(result, name, pinned=p) for name, p in _first_served(result)]
    rounds = call(records[0], "unary", 1)["rounds"]
    return figure([1e3 * seconds for seconds in _of_rounds(rounds, "over_inference_p50_s")])


def _first_served(result: Result) -> list[tuple[str, bool]]:
    known = [("bert-base", True), ("small", False)]
    served = {(record["checkpoint"], record["pinned"]) for record in result["served"]}
    return [entry for entry in known if entry in served]


def _best_share(result: Result) -> Figure:
    engines = result["engines"]["engines"]
    shares = [
        share_of_ceiling(result, name, "int8") for name in (INT8, INT8_COMPILED) if name in engines
    ]
    return max(shares, key=lambda share: share.median)


def _of_batch(call: str) -> Callable[[Result], Figure]:
    def measure(result: Result) -> Figure:
        taken = result["windows"]["compared"][call]
        return ratio(taken["call_s"], taken["batch_s"])

    return measure


def _next_to_windows(priority: str) -> Callable[[Result], Figure]:
    def measure(result: Result) -> Figure:
        p99_s = result["windows"]["p99_s"]
        return ratio(p99_s[priority], p99_s["idle"])

    return measure


def _interference(result: Result) -> Figure:
    worker = result["interference"]["worker"]
    return ratio(worker["busy_s"], worker["idle_s"])


def _points_lost(result: Result) -> Figure:
    accuracy = result["accuracy"]
    return figure([100 * (accuracy["float32"] - accuracy["int8"])])


def _memory_over_weights(result: Result) -> Figure:
    memory = result["memory"]
    over = memory["total_bytes"]["float32"] - memory["weights_bytes"]
    return figure([over / 1e6])


def _memory_share(result: Result) -> Figure:
    total = result["memory"]["total_bytes"]
    return figure([total["int8"] / total["float32"]])


def _start_over_import(result: Result) -> Figure:
    start = result["start"]
    return figure([a - b for a, b in zip(start["serving_s"], start["import_s"], strict=True)])


TARGETS = (
    Target("packed float32, plain ÷ padded in arrival order", 3, speedup(FLOAT32, PADDED)),
    Target(
        "packed float32, compiled ÷ padded in arrival order", 5, speedup(FLOAT32_COMPILED, PADDED)
    ),
    Target("packed float32, compiled ÷ length-sorted padded", 2, speedup(FLOAT32_COMPILED, SORTED)),
    Target(
        "packed float32, compiled: share of the float32 ceiling",
        0.75,
        lambda result: share_of_ceiling(result, FLOAT32_COMPILED, "float32"),
    ),
    Target(
        "int8 compiled ÷ packed float32 compiled", 2.4, speedup(INT8_COMPILED, FLOAT32_COMPILED)
    ),
    Target("best engine's share of the int8 ceiling", 0.65, _best_share),
    *(
        Target(
            f"served ÷ engine alone, BERT-base, {precision}, stream of 32-item messages",
            0.97,
            _served_share("bert-base", precision),
        )
        for precision in PRECISIONS
    ),
    Target("unary on an idle server: p50 minus engine time, ms", 2, _overhead_ms, is_upper=True),
    Target("small, unary at 32 in flight ÷ echo", 0.5, _echo_share),
    Target("small, stream with 32 items a message ÷ engine alone", 0.8, _served_share("small")),
    Target(
        "a text of 5,000 tokens at 512/128 ÷ a batch of its windows, time",
        1.1,
        _of_batch("windows"),
        is_upper=True,
    ),
    Target(
        "Rank of 100 documents ÷ a batch of its pairs, time", 1.1, _of_batch("rank"), is_upper=True
    ),
    Target(
        "ZeroShotClassify of 20 candidates ÷ a batch of its pairs, time",
        1.1,
        _of_batch("zero_shot"),
        is_upper=True,
    ),
    *(
        Target(
            f"p99 of calls of 16 tokens next to a text of 64 windows ({priority}) ÷ idle",
            3,
            _next_to_windows(priority),
            is_upper=True,
        )
        for priority in ("bulk", "interactive")
    ),
    Target(
        "forward time with 4 busy Python threads in the server ÷ without",
        1.25,
        _interference,
        is_upper=True,
    ),
    Target(
        "int8 accuracy below float32 on held-out reviews, points", 0.5, _points_lost, is_upper=True
    ),
    Target(
        "memory of float32 BERT-base served, over its weights, MB",
        600,
        _memory_over_weights,
        is_upper=True,
    ),
    Target("memory of int8 BERT-base served ÷ of float32", 0.45, _memory_share, is_upper=True),
    Target(
        "start of the embedded checkpoint, over importing torch and BERT, s",
        1.5,
        _start_over_import,
        is_upper=True,
    ),
)

PEER_TARGETS = tuple(Target(*goal) for goal in GOALS)
"""Bounds on comparisons with other engines."""


def measured(target: Target, result: Result) -> Figure | None:
    """Return a target's figure in a result; None if not measured."""
    try:
        return target.measure(result)
    except (LookupError, ValueError):
        return None
