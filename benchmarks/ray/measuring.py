"""A job of Ray Data and one server's stream in turns, on the same cores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.instrument import ONE_THREAD, Instrument, MeasurementError
from benchmarks.plan import STREAM_32, Plan
from benchmarks.progress import Say
from benchmarks.served import CLASSWIRE, Served
from benchmarks.serving import loaded
from benchmarks.workload import mixed

from .environment import NOT_INSTALLED, PYTHON, VARIABLES
from .figures import ScoredBatch, tokens_per_s

IN_FLIGHT = 64
SHORT_TEXTS = 160
WARM_UP_TEXTS = 64


def measure(plan: Plan, folder: Path, cores: Sequence[int], say: Say) -> dict[str, Any]:
    """Measure tokens per second of both in each round, in float32.

    The job has an actor for each core. Server, model and load share all cores. Raises
    MeasurementError, also if Ray is not installed.
    """
    if not PYTHON.exists():
        raise MeasurementError(NOT_INSTALLED)
    lengths = mixed().lengths[: SHORT_TEXTS if plan.is_short else None]
    name = plan.shape.name
    rates: dict[str, list[float]] = {"server": [], "job": []}
    options = ["--model", f"m={folder}", "--precision", "float32"]
    say("ray: starting the server")
    with (
        Instrument("benchmarks.load", cores) as load,
        Instrument("benchmarks.ray.job", cores, {**ONE_THREAD, **VARIABLES}, PYTHON) as job,
        Served(*CLASSWIRE, *options) as server,
    ):
        how = {"shape": STREAM_32, "in_flight": IN_FLIGHT, "words": name}
        loaded(load, server, lengths=lengths[:WARM_UP_TEXTS], **how)
        for turn in range(plan.rounds):
            say(f"ray: round {turn + 1} of {plan.rounds}: server")
            sample = loaded(load, server, lengths=lengths, **how)
            if sample["failed"]:
                raise MeasurementError(f"{sample['failed']} texts failed")
            rates["server"].append(sum(lengths) / sample["seconds"])
            say(f"ray: round {turn + 1} of {plan.rounds}: job")
            batches = job.ask(
                "run", folder=str(folder), lengths=lengths, actors=len(cores), words=name
            )
            rates["job"].append(tokens_per_s(ScoredBatch(*batch) for batch in batches))
    return {"checkpoint": name, "cores": list(cores), "texts": len(lengths), **rates}
