"""Targets of the benchmark. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from . import measures
from .figures import Figure, figure
from .fleet.figures import GOAL, shown_scaling
from .measures import Result
from .peers.goals import GOALS
from .plan import FLOAT32, FLOAT32_COMPILED, INT8_COMPILED, PADDED, PRECISIONS, SORTED
from .ray.figures import GOAL as RAY_GOAL
from .ray.figures import share


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


TARGETS = (
    Target("packed float32, plain ÷ padded in arrival order", 3, measures.speedup(FLOAT32, PADDED)),
    Target(
        "packed float32, compiled ÷ padded in arrival order",
        5,
        measures.speedup(FLOAT32_COMPILED, PADDED),
    ),
    Target(
        "packed float32, compiled ÷ length-sorted padded",
        2,
        measures.speedup(FLOAT32_COMPILED, SORTED),
    ),
    Target(
        "packed float32, compiled: share of the float32 ceiling",
        0.75,
        lambda result: measures.share_of_ceiling(result, FLOAT32_COMPILED, "float32"),
    ),
    Target(
        "int8 compiled ÷ packed float32 compiled",
        2.4,
        measures.speedup(INT8_COMPILED, FLOAT32_COMPILED),
    ),
    Target("best engine's share of the int8 ceiling", 0.65, measures.best_share),
    *(
        Target(
            f"served ÷ engine alone, BERT-base, {precision}, stream of 32-item messages",
            0.97,
            measures.served_share("bert-base", precision),
        )
        for precision in PRECISIONS
    ),
    Target(
        "unary on an idle server: p50 minus engine time, ms", 2, measures.overhead_ms, is_upper=True
    ),
    Target("small, unary at 32 in flight ÷ echo", 0.5, measures.echo_share),
    Target(
        "small, stream with 32 items a message ÷ engine alone", 0.8, measures.served_share("small")
    ),
    Target(
        "a text of 5,000 tokens at 512/128 ÷ a batch of its windows, time",
        1.1,
        measures.of_batch("windows"),
        is_upper=True,
    ),
    Target(
        "Rank of 100 documents ÷ a batch of its pairs, time",
        1.1,
        measures.of_batch("rank"),
        is_upper=True,
    ),
    Target(
        "ZeroShotClassify of 20 candidates ÷ a batch of its pairs, time",
        1.1,
        measures.of_batch("zero_shot"),
        is_upper=True,
    ),
    *(
        Target(
            f"p99 of calls of 16 tokens next to a text of 64 windows ({priority}) ÷ idle",
            3,
            measures.next_to_windows(priority),
            is_upper=True,
        )
        for priority in ("bulk", "interactive")
    ),
    Target(
        "forward time with 4 busy Python threads in the server ÷ without",
        1.25,
        measures.interference,
        is_upper=True,
    ),
    Target(
        "int8 accuracy below float32 on held-out reviews, points",
        0.5,
        measures.points_lost,
        is_upper=True,
    ),
    Target(
        "memory of float32 BERT-base served, over its weights, MB",
        600,
        measures.memory_over_weights,
        is_upper=True,
    ),
    Target(
        "memory of int8 BERT-base served ÷ of float32", 0.45, measures.memory_share, is_upper=True
    ),
    Target(
        "start of the embedded checkpoint, over importing torch and BERT, s",
        1.5,
        measures.start_over_import,
        is_upper=True,
    ),
    *(
        Target(
            f"{which} start of {name} ÷ importing torch and BERT",
            bound,
            measures.start_by_import(checkpoint, which),
            is_upper=True,
        )
        for name, checkpoint, which, bound in (
            ("the embedded checkpoint", "embedded", "first", 0.8),
            ("the embedded checkpoint", "embedded", "second", 0.8),
            ("BERT-base float32", "bert-base", "first", 2.0),
            ("BERT-base float32", "bert-base", "second", 1.3),
        )
    ),
    Target(
        "BERT-base's worker killed: until it answers, over reading its weights, s",
        1,
        measures.back_over_reading,
        is_upper=True,
    ),
    Target(
        "loading a second, tiny model into a running server, s",
        1,
        lambda result: figure(result["start"]["load_s"]),
        is_upper=True,
    ),
    Target(
        "memory of the embedded server, MB",
        380,
        measures.small_memory_mb("embedded"),
        is_upper=True,
    ),
    Target(
        "memory of a further tiny model, MB", 60, measures.small_memory_mb("further"), is_upper=True
    ),
    Target("memory of int8 BERT-base (110 M), MB", 520, measures.int8_memory_mb, is_upper=True),
    Target(
        "unary on an idle server, BERT-base float32: p50 minus engine time, ms",
        1,
        measures.lone_overhead_ms,
        is_upper=True,
    ),
    Target(
        "small, unary at 32 in flight ÷ what its model leaves of the echo",
        0.8,
        measures.share_of_left,
    ),
)

PEER_TARGETS = tuple(Target(*goal) for goal in GOALS)
"""Bounds on comparisons with other engines."""

FLEET_TARGETS = (
    Target("BERT-base float32, two replicas ÷ one, texts/s", GOAL, shown_scaling("bert-base")),
)
"""Bounds on replicas behind Envoy."""

RAY_TARGETS = (
    Target(
        "BERT-base float32, Ray Data ÷ one server's stream, tokens/s",
        RAY_GOAL,
        lambda result: share(result, "bert-base"),
    ),
)
"""Bounds on jobs of Ray Data."""


def measured(target: Target, result: Result) -> Figure | None:
    """Return a target's figure in a result; None if not measured."""
    try:
        return target.measure(result)
    except (LookupError, ValueError):
        return None
