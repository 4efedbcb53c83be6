"""One and two replicas behind Envoy, under the same load.

Each replica has a core of its own. Envoy and load have the cores that the replicas leave; where
they leave none, Envoy and load share all cores with them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.figures import quantile
from benchmarks.instrument import Instrument, MeasurementError, pin
from benchmarks.load import TIMEOUT_S
from benchmarks.plan import FEWER, Plan
from benchmarks.progress import Say
from benchmarks.served import CLASSWIRE, Served
from benchmarks.serving import with_processor_time
from benchmarks.workload import mixed
from scripts.envoy import Envoy, Settings

from .points import DIRECT, POINTS, REPLICAS, TWO, WAYS, Point

SERVER = (
    *CLASSWIRE,
    *("--lanes", "1", "--threads", "1", "--batch-tokens", "512"),
    *("--default-timeout-s", f"{TIMEOUT_S:g}"),
)
"""Fixed settings: measurements at start would differ between the replicas. A call may wait for as
long as the load does.
"""
PATIENT = {"unhealthy_threshold: 2": "unhealthy_threshold: 100", "timeout: 5s}": "timeout: 60s}"}
"""Envoy gives no replica up, and no connection, because other programs keep the cores busy."""
LONE_TOKENS = 16

OrMissing = Callable[[str], AbstractContextManager[None]]
"""The context of a measurement: it records a failure under this name, and continues."""


class Subject(NamedTuple):
    """A model that the replicas serve: its checkpoint and name, and the number of calls.

    `lone_calls` come one after the other, `calls` IN_FLIGHT at a time. `folder` is None for the
    embedded checkpoint.
    """

    checkpoint: str
    name: str
    folder: Path | None
    lone_calls: int
    calls: int

    @property
    def command(self) -> tuple[str, ...]:
        """The command that serves it."""
        model = () if self.folder is None else ("--model", f"{self.name}={self.folder}")
        return (*SERVER, "--precision", "float32", *model)


class Route(NamedTuple):
    """A way to the replicas: the address, what loads it, and the processes that take part."""

    target: str
    load: Instrument
    processes: Mapping[str, Sequence[int]]


def subjects(plan: Plan, folder: Path) -> list[Subject]:
    """Return the embedded checkpoint, and the plan's; `folder` is the plan's checkpoint."""
    fewer = FEWER if plan.is_short else 1
    return [
        Subject("embedded", "stars-en", None, 1_000 // fewer, 2_000 // fewer),
        Subject(plan.shape.name, "m", folder, 200 // fewer, 64 if plan.is_short else 192),
    ]


def left(cores: Sequence[int], replicas: int) -> list[int]:
    """Return the cores that replicas leave; all cores if they leave none."""
    return list(cores[replicas:] or cores)


def measure(
    of: Sequence[Subject], rounds: int, work: Path, say: Say, or_missing: OrMissing
) -> dict[str, Any]:
    """Measure all points of each model. `work` gets Envoy's files."""
    cores = sorted(os.sched_getaffinity(0))
    models: dict[str, Any] = {}
    for subject in of:
        with or_missing(f"fleet: {subject.checkpoint}"):
            models[subject.checkpoint] = _measured(subject, cores, rounds, work, say)
    return {
        "cores": len(cores),
        "left": {way: left(cores, 1 + (way == TWO)) for way in WAYS},
        "models": models,
    }


def _measured(
    subject: Subject, cores: Sequence[int], rounds: int, work: Path, say: Say
) -> dict[str, list[dict[str, Any]]]:
    taken: dict[str, list[dict[str, Any]]] = {point.name: [] for point in POINTS}
    with ExitStack() as ends:
        routes = _start(subject, cores, work, say, ends)
        for turn in range(-1, rounds):  # round -1 warms up
            for point in POINTS if turn % 2 else reversed(POINTS):
                say(f"fleet: {subject.checkpoint}, round {turn + 1} of {rounds}: {point.name}")
                calls = subject.lone_calls if point.in_flight == 1 else subject.calls
                if turn < 0:
                    calls = min(calls, 2 * point.in_flight)
                sample = _sample(subject, routes[point.way], point, calls)
                if turn >= 0:
                    taken[point.name].append(sample)
    return taken


def _start(
    subject: Subject, cores: Sequence[int], work: Path, say: Say, ends: ExitStack
) -> dict[str, Route]:
    replicas = []
    for number in range(REPLICAS):
        say(f"fleet: {subject.checkpoint}, starting replica {number + 1} of {REPLICAS}")
        replica = ends.enter_context(Served(*subject.command))
        core = [cores[number % len(cores)]]
        replica.pin(core, core)
        replicas.append(replica)
    routes: dict[str, Route] = {}
    for way in WAYS:
        reached = replicas if way == TWO else replicas[:1]
        rest = left(cores, len(reached))
        load = ends.enter_context(Instrument("benchmarks.fleet.load", rest))
        target = reached[0].target
        processes = {
            "servers": [replica.pid for replica in reached],
            "workers": [pid for replica in reached for pid in replica.workers],
            "load": [load.pid],
        }
        if way != DIRECT:
            envoy = _envoy([replica.target for replica in reached], subject.name, work, ends)
            pin(envoy.pid, rest)
            target, processes["Envoy"] = envoy.target, [envoy.pid]
        routes[way] = Route(target, load, processes)
    return routes


def _envoy(targets: Sequence[str], model: str, work: Path, ends: ExitStack) -> Envoy:
    folder = work / f"envoy-{len(targets)}"
    folder.mkdir(exist_ok=True)
    try:
        return ends.enter_context(Envoy(folder, targets, Settings(model, edits=PATIENT)))
    except RuntimeError as error:
        raise MeasurementError(str(error).strip().splitlines()[-1]) from None


def _sample(subject: Subject, route: Route, point: Point, calls: int) -> dict[str, Any]:
    lengths = mixed().lengths if point.in_flight > 1 else (LONE_TOKENS,)
    sample = with_processor_time(
        route.load,
        route.processes,
        target=route.target,
        shape=point.shape,
        lengths=[lengths[n % len(lengths)] for n in range(calls)],
        in_flight=point.in_flight,
        words=subject.checkpoint,
    )
    if sample.get("failed"):
        raise MeasurementError(f"{point.name}: {sample['failed']} texts failed")
    return {
        "texts_per_s": sample["texts"] / sample["seconds"],
        "p50_s": quantile(sample["latencies_s"], 0.5),
        "p99_s": quantile(sample["latencies_s"], 0.99),
        "processor_s": sample["processor_s"],
    }
