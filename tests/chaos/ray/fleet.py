"""Servers on a Ray cluster behind Envoy, and the load on them."""

import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from classwire_server.ray import Fleet, Scaling, targets, up
from scripts.envoy import Envoy
from tests.chaos.callers import Ledger, start
from tests.chaos.known import Known
from tests.chaos.trial import Plan
from tests.contract.engines import eventually
from tests.ray.clusters import cluster

NODES = 3
SERVER = ("--lanes", "1", "--threads", "1", "--batch-tokens", "512")
"""Options of each server: nothing to measure at start, and one core, as its node has."""
PATIENCE_S = 240.0
"""Longest wait for servers; on a busy machine one takes half a minute to start."""


@dataclass(frozen=True)
class RayFleet:
    """Servers on a cluster of NODES nodes, one core each. For use by one thread."""

    plan: Plan
    envoy: Envoy
    ledger: Ledger

    def wait_for(self, replicas: int, other_than: Collection[str] = ()) -> None:
        """Wait until Envoy calls this number of servers, and these are not `other_than`."""

        def are_there() -> bool:
            ready = self.envoy.ready()
            return len(ready) == replicas and ready != set(other_than) and ready == known_targets()

        assert eventually(are_there, PATIENCE_S), (self.envoy.ready(), known_targets())

    def wait_for_load(self) -> None:
        """Wait until callers got more answers."""
        assert self.ledger.wait_for_answers(50 if self.plan.is_short else 500), "no answers"


def known_targets() -> set[str]:
    """Return the addresses that the directory knows; none while there is no directory."""
    try:
        return set(targets() or ())
    except (RuntimeError, TimeoutError):  # its node was lost, and another one starts
        return set()


@contextmanager
def ray_fleet(
    plan: Plan, replicas: int, scaling: Scaling | None = None, **callers: int
) -> Iterator[RayFleet]:
    """Start servers, Envoy, what writes Envoy's file, and callers, until the block ends.

    `callers` are the arguments of `Callers`.
    """
    folder = plan.work / "envoy"
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as ends:
        running = ends.enter_context(cluster(NODES))
        plan.say("the cluster runs")
        up(Fleet(replicas, SERVER, scaling))
        assert eventually(lambda: len(known_targets()) == replicas, PATIENCE_S)
        plan.say("the servers run")
        known = Known.ask(min(known_targets()), 100 if plan.is_short else 500)
        envoy = ends.enter_context(Envoy(folder, sorted(known_targets())))
        ends.enter_context(_watch(running.address, str(folder / "replicas.yaml")))
        fleet = RayFleet(plan, envoy, Ledger(known))
        fleet.wait_for(replicas)
        start(ends, envoy.target, fleet.ledger, retry=True, **callers)
        fleet.wait_for_load()
        yield fleet


@contextmanager
def _watch(address: str, file: str) -> Iterator[None]:
    """Run `classwire ray targets --watch` until the block ends."""
    command = [sys.executable, "-m", "classwire", "ray", "targets", "--watch"]
    command += ["--address", address, "--file", file]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()
