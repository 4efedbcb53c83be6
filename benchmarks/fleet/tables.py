"""Replicas behind Envoy, as Markdown. Pure."""

from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, figure
from benchmarks.markdown import table
from benchmarks.measures import Result
from benchmarks.tables import setting, targets
from benchmarks.targets import FLEET_TARGETS

from .figures import GOAL, added_ms, json_share, room, scaling, values
from .points import (
    DIRECT,
    IN_FLIGHT,
    JSON,
    JSON_LOADED,
    LOADED,
    ONE,
    ONE_LOADED,
    STREAM,
    TWO,
    TWO_LOADED,
    UNARY,
    Point,
)

QUANTILES = ("p50", "p99")
PROCESSES = {"servers": "servers", "workers": "workers", "Envoy": "Envoy", "load": "callers"}


def page(result: Result) -> str:
    """Return the target, the tables, and what the cores do not show."""
    return "\n\n".join(
        (
            f"{result['taken_at']}, {setting(result)}",
            targets(result, FLEET_TARGETS),
            _cores(result),
            *_unshown(result),
            table(
                (
                    f"unary calls, {IN_FLIGHT} at a time, texts/s",
                    "one replica",
                    "two replicas",
                    "two ÷ one",
                    "the cores suffice for",
                ),
                _throughput(result),
            ),
            table(
                (
                    "single calls of 16 tokens, ms",
                    *(f"{q}, {way}" for q in QUANTILES for way in ("direct", "Envoy", "added")),
                ),
                _latency(result),
            ),
            table(
                ("JSON and gRPC, through Envoy to one replica", "gRPC", "JSON"), _by_json(result)
            ),
            table(("processor time of a text, us", *PROCESSES.values()), _processor_time(result)),
        )
    )


def _cores(result: Result) -> str:
    cores = result["fleet"]["left"]
    return (
        f"float32, plain. Each replica has a core of its own. Envoy, with one thread, and the "
        f"callers run on cores {cores[ONE]} next to one replica, and on {cores[TWO]} next to two."
    )


def _unshown(result: Result) -> Iterator[str]:
    for checkpoint in result["fleet"]["models"]:
        found = room(result, checkpoint)
        if found.median < GOAL:
            yield (
                f"**Not shown: {checkpoint}.** Replicas, Envoy and callers together need more than "
                f"the {result['fleet']['cores']} cores: with the processor time of one replica's "
                f"calls, they suffice for {found} times its throughput."
            )


def _throughput(result: Result) -> Iterator[Sequence[object]]:
    for checkpoint in result["fleet"]["models"]:
        rates = (
            figure(values(result, checkpoint, point, "texts_per_s"))
            for point in (ONE_LOADED, TWO_LOADED)
        )
        yield checkpoint, *rates, scaling(result, checkpoint), room(result, checkpoint)


def _ms(result: Result, checkpoint: str, point: Point, quantile: str) -> Figure:
    seconds = values(result, checkpoint, point, f"{quantile}_s")
    return figure([1e3 * taken_s for taken_s in seconds])


def _latency(result: Result) -> Iterator[Sequence[object]]:
    for checkpoint in result["fleet"]["models"]:
        for shape in (UNARY, STREAM):
            yield (
                f"{checkpoint}, {shape}",
                *(
                    cell
                    for quantile in QUANTILES
                    for cell in (
                        _ms(result, checkpoint, Point(DIRECT, shape, 1), quantile),
                        _ms(result, checkpoint, Point(ONE, shape, 1), quantile),
                        added_ms(result, checkpoint, shape, quantile),
                    )
                ),
            )


def _by_json(result: Result) -> Iterator[Sequence[object]]:
    for checkpoint in result["fleet"]["models"]:
        grpc, json = (
            figure(values(result, checkpoint, point, "texts_per_s"))
            for point in (ONE_LOADED, JSON_LOADED)
        )
        share = json_share(result, checkpoint)
        yield f"{checkpoint}, {IN_FLIGHT} at a time, texts/s", grpc, f"{json}, × {share}"
        for quantile in QUANTILES:
            yield (
                f"{checkpoint}, single calls, {quantile}, ms",
                *(
                    _ms(result, checkpoint, Point(ONE, shape, 1), quantile)
                    for shape in (UNARY, JSON)
                ),
            )


def _processor_time(result: Result) -> Iterator[Sequence[object]]:
    for checkpoint in result["fleet"]["models"]:
        for point in LOADED:
            taken = values(result, checkpoint, point, "processor_s")
            yield (
                f"{checkpoint}, {point.name} at a time",
                *(figure([1e6 * each_s[process] for each_s in taken]) for process in PROCESSES),
            )
