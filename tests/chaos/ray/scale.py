"""Servers on a Ray cluster that become more and fewer under load."""

from contextlib import ExitStack

from classwire_server.ray import Scaling
from tests.chaos.callers import start
from tests.chaos.trial import Plan, Report

from .fleet import NODES, ray_fleet

LIGHT = {"unary": 2, "streams": 1, "window": 1}
"""Callers whose texts are hardly queued."""
HEAVY = {"batches": 24, "streams": 1}
"""Further callers, who let texts queue for more than the policy's target."""


def run(plan: Plan) -> Report:
    """Add callers until all servers run, and take them away until one is left."""
    report = Report()
    scaling = Scaling(NODES, upscale_delay_s=5.0, downscale_delay_s=15.0)
    with ray_fleet(plan, 1, scaling, **LIGHT) as fleet:
        with ExitStack() as load:
            start(load, fleet.envoy.target, fleet.ledger, retry=True, **HEAVY)
            fleet.wait_for(NODES)
            plan.say(f"{NODES} servers")
            fleet.wait_for_load()
        fleet.wait_for(1)
        plan.say("one server")
        fleet.wait_for_load()
    report.add("servers under load, and afterwards", f"{NODES}, then 1", f"{NODES}, then 1", True)
    fleet.ledger.report(report, "callers of the library")
    return report
