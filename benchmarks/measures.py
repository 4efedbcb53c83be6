"""Figures of a result, for targets and tables. Pure.

They raise LookupError if the result lacks what they need.
"""

from collections.abc import Callable
from typing import Any

from .figures import Figure, figure, ratio
from .plan import INT8, INT8_COMPILED, STREAM_32

Result = dict[str, Any]
"""A run of the benchmark, as in its JSON file."""


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


def served_share(checkpoint: str, precision: str = "") -> Callable[[Result], Figure]:
    """Return a measure: texts per second of a pinned server, as a share of its engine alone."""

    def measure(result: Result) -> Figure:
        entry = call(serving(result, checkpoint, pinned=True, precision=precision), STREAM_32)
        return ratio(
            _of_rounds(entry["rounds"], "texts_per_s"), _of_rounds(entry["alone"], "texts_per_s")
        )

    return measure


def echo_share(result: Result) -> Figure:
    """Return the small checkpoint's rate of unary calls, as a share of the echo's."""
    entry = call(serving(result, "small", pinned=False), "unary", 32)
    return ratio(
        _of_rounds(entry["rounds"], "texts_per_s"), _of_rounds(entry["echo"], "texts_per_s")
    )


def overhead_ms(result: Result) -> Figure:
    """Return the overhead of the served checkpoint with the longest forward pass."""
    records = [serving(result, name, pinned=p) for name, p in _first_served(result)]
    rounds = call(records[0], "unary", 1)["rounds"]
    return figure([1e3 * seconds for seconds in _of_rounds(rounds, "over_inference_p50_s")])


def _first_served(result: Result) -> list[tuple[str, bool]]:
    known = [("bert-base", True), ("small", False)]
    served = {(record["checkpoint"], record["pinned"]) for record in result["served"]}
    return [entry for entry in known if entry in served]


def best_share(result: Result) -> Figure:
    """Return the best int8 engine's share of the int8 ceiling."""
    engines = result["engines"]["engines"]
    shares = [
        share_of_ceiling(result, name, "int8") for name in (INT8, INT8_COMPILED) if name in engines
    ]
    return max(shares, key=lambda share: share.median)


def of_batch(call: str) -> Callable[[Result], Figure]:
    """Return a measure: time of a call divided by that of a batch of its inputs."""

    def measure(result: Result) -> Figure:
        taken = result["windows"]["compared"][call]
        return ratio(taken["call_s"], taken["batch_s"])

    return measure


def next_to_windows(priority: str) -> Callable[[Result], Figure]:
    """Return a measure: p99 of short calls next to a text of many windows, over that when idle."""

    def measure(result: Result) -> Figure:
        p99_s = result["windows"]["p99_s"]
        return ratio(p99_s[priority], p99_s["idle"])

    return measure


def interference(result: Result) -> Figure:
    """Return the time of a pass next to busy threads of the server, over that without."""
    worker = result["interference"]["worker"]
    return ratio(worker["busy_s"], worker["idle_s"])


def points_lost(result: Result) -> Figure:
    """Return how many points of accuracy int8 loses."""
    accuracy = result["accuracy"]
    return figure([100 * (accuracy["float32"] - accuracy["int8"])])


def memory_over_weights(result: Result) -> Figure:
    """Return the megabytes of float32 BERT-base served, over its weights."""
    memory = result["memory"]
    over = memory["total_bytes"]["float32"] - memory["weights_bytes"]
    return figure([over / 1e6])


def memory_share(result: Result) -> Figure:
    """Return the memory of int8 as a share of that of float32."""
    total = result["memory"]["total_bytes"]
    return figure([total["int8"] / total["float32"]])


def int8_memory_mb(result: Result) -> Figure:
    """Return the megabytes of an int8 BERT-base of 110 M parameters."""
    return figure([result["memory"]["total_bytes"]["int8, 110 M parameters"] / 1e6])


def small_memory_mb(kind: str) -> Callable[[Result], Figure]:
    """Return a measure: megabytes of small models."""
    return lambda result: figure([result["memory"]["small_bytes"][kind] / 1e6])


def start_over_import(result: Result) -> Figure:
    """Return the seconds of a first start of the embedded checkpoint, over the import."""
    start = result["start"]
    return _differences(start["embedded"]["first_s"], start["import_s"])


def start_by_import(checkpoint: str, which: str) -> Callable[[Result], Figure]:
    """Return a measure: seconds of a start divided by those of the import."""

    def measure(result: Result) -> Figure:
        start = result["start"]
        return ratio(start[checkpoint][f"{which}_s"], start["import_s"])

    return measure


def back_over_reading(result: Result) -> Figure:
    """Return the seconds until a killed worker's server answers, over reading its weights."""
    return _differences(result["start"]["back_s"], result["start"]["read_s"])


def _differences(above: list[float], below: list[float]) -> Figure:
    return figure([a - b for a, b in zip(above, below, strict=True)])


def lone_overhead_ms(result: Result) -> Figure:
    """Return the milliseconds of a call on an idle server, over its forward pass."""
    return figure([1e3 * taken["over_s"] for taken in result["lone"]["call"]["served"]])


def left_by_model(served: Result, echo: Result, cores: int) -> float:
    """Return what a model leaves of the echo's rate, by the processor time of each process.

    The rate at which all cores are busy, if the server's process needed no more than the echo's.
    """
    server_s, load_s = (echo["processor_s"][process] for process in ("server", "load"))
    rate: float = cores / (server_s + load_s + served["processor_s"]["workers"])
    return min(1.0, rate / float(echo["texts_per_s"]))


def shares_left(record: Result) -> list[tuple[float, float]]:
    """Return for each round the served share of the echo's rate, and what the model leaves."""
    [entry] = record["calls"]
    return [
        (
            served["texts_per_s"] / echo["texts_per_s"],
            left_by_model(served, echo, len(record["cores"]["server"])),
        )
        for served, echo in zip(entry["rounds"], entry["echo"], strict=True)
    ]


def share_of_left(result: Result) -> Figure:
    """Return the share of the rate that the model leaves."""
    return figure([share / left for share, left in shares_left(result["lone"]["small"])])
