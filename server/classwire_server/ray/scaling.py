"""How many servers Ray Serve runs: by the time for which texts are queued."""

import math
from collections.abc import Collection
from typing import Any

QUEUE_SECONDS = "queue_seconds"
"""The name under which replicas record their mean queue time."""
TARGET_S = 0.1
"""Mean queue time above which servers are added."""
LOW_SHARE = 0.25
"""Share of the target below which a server is removed."""
LARGEST_STEP = 2.0
"""By how much the number of servers may grow at once."""


def wanted(replicas: int, queue_s: Collection[float]) -> int:
    """The number of servers for these mean queue times, one for each server that has told any."""
    if not queue_s:
        return replicas
    load = sum(queue_s) / len(queue_s) / TARGET_S
    if load > 1:
        return math.ceil(replicas * min(load, LARGEST_STEP))
    return replicas - 1 if load < LOW_SHARE else replicas


def by_queue_time(context: Any) -> tuple[int, dict[str, Any]]:
    """The policy for Ray Serve, which applies its limits and delays to the result."""
    told = context.aggregated_metrics or {}
    return wanted(context.target_num_replicas, told.get(QUEUE_SECONDS, {}).values()), {}
