"""A node of a Ray cluster that is lost under load."""

import os
import time

from benchmarks.instrument import children, descendants
from tests.chaos.trial import Plan, Report
from tests.ray.clusters import kill_tree, named

from .fleet import known_targets, ray_fleet

REPLICAS = 2
MOST_S = 60.0


def run(plan: Plan) -> Report:
    """Kill all processes of a node that has a server, and wait for another server."""
    report = Report()
    with ray_fleet(plan, REPLICAS, unary=2, batches=1, streams=1) as fleet:
        before = known_targets()
        kill_tree(_raylet_with_server())
        began_s = time.monotonic()
        fleet.wait_for(REPLICAS, other_than=before)
        took_s = time.monotonic() - began_s
        plan.say(f"two servers again after {took_s:.0f} s")
        fleet.wait_for_load()
    report.add(
        "seconds until two servers get calls again",
        f"at most {MOST_S:g}",
        f"{took_s:.1f}",
        took_s <= MOST_S,
    )
    fleet.ledger.report(report, "callers of the library")
    return report


def _raylet_with_server() -> int:
    """Return the process of a node that has a server, but not Ray Serve's controller."""
    for raylet in named(children(os.getpid()), "raylet/raylet "):
        below = descendants(raylet)
        if named(below, "-m classwire_server.cli.child") and not named(below, "ServeController"):
            return raylet
    raise AssertionError("no node has a server")
