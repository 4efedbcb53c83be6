"""Replicas behind Envoy that are killed, stopped, drained and added under load."""

import os
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass

from scripts.envoy import Envoy
from tests.contract.engines import eventually

from .bare_callers import BareCallers
from .callers import PATIENCE_S, Ledger, start
from .known import Known
from .servers import Replica, process
from .trial import Plan, Report, Trial

LONGEST_IN_ROTATION_S = 5.0
"""Two health checks, each with an interval and a timeout of 1 s, and a second for the trial."""
MAY_FAIL = {"OK", "UNAVAILABLE"}, {"HTTP 200", "HTTP 503"}


@dataclass(frozen=True)
class Fleet:
    """Replicas behind Envoy, and the load on them. For use by one thread."""

    plan: Plan
    envoy: Envoy
    replicas: list[Replica]
    ledger: Ledger
    answers: int

    def wait_for_load(self) -> None:
        """Wait until callers got more answers."""
        assert self.ledger.wait_for_answers(self.answers), "no answers"

    def wait_for_ready(self, replicas: list[Replica]) -> float:
        """Wait until these get calls, and no others; return the seconds."""
        began_s = time.monotonic()
        wanted = {replica.target for replica in replicas}
        assert eventually(lambda: self.envoy.ready() == wanted, PATIENCE_S), self.envoy.ready()
        return time.monotonic() - began_s

    def list(self, replicas: list[Replica]) -> None:
        """Write the file of replicas, and wait until Envoy follows it."""
        self.envoy.set_replicas([replica.target for replica in replicas])
        self.wait_for_ready(replicas)

    def kill(self) -> None:
        """Kill the first replica, and start it again."""
        self.wait_for_load()
        self.replicas[0].end(signal.SIGKILL)
        self.wait_for_ready(self.replicas[1:])
        self.wait_for_load()
        self.replicas[0].start()
        self.wait_for_ready(self.replicas)
        self.plan.say("killed")

    def stop(self) -> float:
        """Stop the second replica for a while; return for how long it was in rotation."""
        self.wait_for_load()
        pid = self.replicas[1].process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            took_s = self.wait_for_ready(self.replicas[:1])
            self.wait_for_load()
        finally:
            os.kill(pid, signal.SIGCONT)
        self.wait_for_ready(self.replicas)
        self.plan.say(f"stopped: {took_s:.1f} s in rotation")
        return took_s

    def drain(self) -> int:
        """Take each replica out of the file, end it, start it again and put it back; return how
        many ended with an exit code of 0.
        """
        clean = 0
        for replica in self.replicas:
            others = [other for other in self.replicas if other is not replica]
            self.wait_for_load()
            self.list(others)
            clean += replica.end(signal.SIGTERM) == 0
            replica.start()
            self.list(self.replicas)
        self.plan.say("drained")
        return clean

    def add(self) -> bool:
        """Add a third replica and take it away; return whether it got calls."""
        with Replica(lambda port: process(self.plan, port)) as third:
            self.list([*self.replicas, third])
            got_calls = eventually(
                lambda: f'"replica":"{third.target}"' in self.envoy.log, PATIENCE_S
            )
            self.list(self.replicas)
            third.end(signal.SIGTERM)
        self.plan.say("added and removed")
        return got_calls


def run(plan: Plan) -> Report:
    """Run all faults, repeatedly, under calls of every kind."""
    report = Report()
    rounds = 1 if plan.is_short else 5
    with ExitStack() as ends:
        replicas = [ends.enter_context(Replica(lambda port: process(plan, port))) for _ in "ab"]
        known = Known.ask(replicas[0].target, 200 if plan.is_short else 1_000)
        folder = plan.work / "envoy"
        folder.mkdir(exist_ok=True)
        envoy = ends.enter_context(Envoy(folder, [replica.target for replica in replicas]))
        ledger = Ledger(known)
        fleet = Fleet(plan, envoy, replicas, ledger, 50 if plan.is_short else 500)
        in_rotation_s: list[float] = []
        clean = failures_of_drains = 0
        got_calls = True
        with ExitStack() as load:
            start(load, envoy.target, ledger, unary=2, batches=1, streams=1)
            stubs = load.enter_context(BareCallers(envoy.target, known, stubs=2, json=0))
            json = load.enter_context(BareCallers(envoy.target, known, stubs=0, json=2))
            for _ in range(rounds):
                fleet.kill()
                in_rotation_s.append(fleet.stop())
                before = stubs.failures() + json.failures()
                clean += fleet.drain()
                got_calls &= fleet.add()
                failures_of_drains += stubs.failures() + json.failures() - before
    ledger.report(report, "callers of the library")
    for who, callers, may_be in zip(
        ("stubs without retries", "callers by JSON"), (stubs, json), MAY_FAIL, strict=True
    ):
        callers.report(report, who, may_be)
    longest_s = max(in_rotation_s)
    report.add(
        "seconds until a stopped replica gets no calls",
        f"at most {LONGEST_IN_ROTATION_S:g}",
        f"{longest_s:.1f}",
        longest_s <= LONGEST_IN_ROTATION_S,
    )
    report.add(
        "failed calls without retries while replicas drain, come and go",
        "0",
        failures_of_drains,
        not failures_of_drains,
    )
    drains = rounds * len(replicas)
    report.add("drains that end with exit code 0", str(drains), clean, clean == drains)
    report.add("added replicas that get calls", "all", "all" if got_calls else "not all", got_calls)
    return report


FLEET = Trial(
    "fleet",
    "Two replicas behind Envoy, under unary calls, batches and a stream of the library, calls of "
    "bare stubs and calls by JSON. One replica is killed (SIGKILL), one is stopped (SIGSTOP), both "
    "are drained in turn, and a third is added and removed. Each comes back.",
    run,
)
