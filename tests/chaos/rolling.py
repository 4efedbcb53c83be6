"""Two servers that restart in turn under load, as for an update."""

import signal
from contextlib import ExitStack

from .callers import Ledger, start
from .known import Known
from .servers import Replica, process
from .trial import Plan, Report, Trial

ANSWERS_BETWEEN = 200


def run(plan: Plan) -> Report:
    """Restart both servers, repeatedly."""
    report = Report()
    rounds = 1 if plan.is_short else 5
    with ExitStack() as ends:
        replicas = [ends.enter_context(Replica(lambda port: process(plan, port))) for _ in "ab"]
        ledger = Ledger(Known.ask(replicas[0].target, 200 if plan.is_short else 1_000))
        codes = []
        with ExitStack() as callers:
            targets = [replica.target for replica in replicas]
            start(callers, targets, ledger, unary=4, batches=1, streams=2)
            for number in range(rounds):
                for replica in replicas:
                    assert ledger.wait_for_answers(ANSWERS_BETWEEN), "no answers"
                    codes.append(replica.end(signal.SIGTERM))
                    replica.start()
                plan.say(f"both restarted {number + 1} times")
            assert ledger.wait_for_answers(ANSWERS_BETWEEN), "no answers"
    clean = sum(code == 0 for code in codes)
    report.add("restarts, exit code 0", str(2 * rounds), clean, clean == 2 * rounds)
    ledger.report(report, "callers")
    return report


ROLLING = Trial(
    "rolling",
    "Two servers get unary calls, batches and streams from one client of the library. Each in turn "
    "is ended by SIGTERM and restarted at its address.",
    run,
)
