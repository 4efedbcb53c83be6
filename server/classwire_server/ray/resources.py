"""The cores and GPUs that Ray assigns to an actor."""

import math
from typing import NamedTuple

import ray

from classwire_server.engine.cores import usable_cores


class Resources(NamedTuple):
    """What a model may use: at least one core, and a GPU or none."""

    cores: int
    has_gpu: bool


def assigned() -> Resources:
    """What Ray assigns to this actor, rounded up; outside of Ray, all cores and no GPU."""
    if not ray.is_initialized():
        return Resources(usable_cores(), has_gpu=False)
    amounts = ray.get_runtime_context().get_assigned_resources()
    return Resources(max(1, math.ceil(amounts.get("CPU", 0.0))), amounts.get("GPU", 0.0) > 0)
