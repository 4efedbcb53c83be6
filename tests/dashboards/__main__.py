"""A real Prometheus on real servers: every query gives data, every alert fires and clears.

    python -m tests.dashboards

Needs the Debian package prometheus; without it, prints so and exits with 0. The rules are the
shipped ones with shorter times. It ends by itself within about a minute, prints what it found,
and exits with 1 when something is missing.
"""

import logging
import math
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.checkpoints import make_checkpoint

from .engine_faults import Defective, KilledWorker, LeakingWorker, StuckLoading
from .observation import Observation
from .prometheus import Firing, Prometheus
from .service_faults import Draining, FewFilesLeft, Full, Overloaded, Shifted, Slow, Stopped
from .shipped import Asked, alerts, asked_by_dashboard, rules
from .subjects import Subject

KINDS = (
    KilledWorker,
    LeakingWorker,
    StuckLoading,
    Defective,
    Full,
    Slow,
    Overloaded,
    Shifted,
    Draining,
    Stopped,
    FewFilesLeft,
)
VARIABLES = {"job": "classwire", "instance": ".+", "model": ".+", "__rate_interval": "4s"}
ABSENT = Firing("ClasswireAbsent", "")
"""Alerts that fire without a fault: Prometheus evaluates rules before its first scrape."""
PATIENCE_S = 60.0
HISTORY = "6s"
"""Lookback of the shortened rules."""


def main() -> None:
    """Provoke all faults at once, observe, mend them, observe."""
    if Prometheus.path() is None:
        print("prometheus is not installed: skipped", file=sys.stderr)
        return
    logging.getLogger("classwire_server").setLevel(logging.CRITICAL)  # the faults fill the log
    queries = [
        *asked_by_dashboard(VARIABLES),
        *(Asked(rule["record"], rule["record"]) for rule in rules() if "record" in rule),
    ]
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        subjects = _subjects(make_checkpoint("bert", folder / "bert"), ends)
        targets = [subject.target for subject in subjects]
        prometheus = ends.enter_context(Prometheus(targets, folder))
        seen = Observation(prometheus, queries)
        faults = _watch(seen, prometheus, subjects)
    _report(seen, subjects, queries)
    faults += [f"no data: {where}: {expr}" for where, expr in seen.unanswered]
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(bool(faults))


def _subjects(checkpoint: Path, ends: ExitStack) -> list[Subject]:
    subjects: list[Subject] = []
    for kind in KINDS:
        subjects.append(kind(checkpoint))
        ends.callback(subjects[-1].close)
    return subjects


def _expected(subject: Subject) -> set[Firing]:
    return {Firing(name, subject.target) for name in subject.alerts}


def _watch(seen: Observation, prometheus: Prometheus, subjects: list[Subject]) -> list[str]:
    """Observe without faults, during the faults, and after them; return what is missing."""
    faults: list[str] = []

    def must(condition: bool, what: str) -> None:
        if not condition:
            faults.append(what)

    def is_known() -> bool:
        samples = prometheus.query(f"count(up offset {HISTORY} == 1)")
        return bool(samples) and int(samples[0]["value"][1]) == len(subjects)

    must(seen.until(lambda: ABSENT in seen.firing, PATIENCE_S), f"{ABSENT.name} never fired")
    must(seen.until(is_known, PATIENCE_S), "not every server is scraped")
    loading = next(subject for subject in subjects if isinstance(subject, StuckLoading))
    at_rest = seen.firing - _expected(loading)
    must(not at_rest, f"fires without a fault: {sorted(at_rest)}")
    for subject in subjects:
        subject.provoke()
    expected = {ABSENT}.union(*map(_expected, subjects))
    seen.until(lambda: seen.fired.keys() >= expected, PATIENCE_S)
    missing = {alert.name for alert in expected - seen.fired.keys()}
    missing |= alerts().keys() - {alert.name for alert in expected}
    must(not missing, f"never fired: {sorted(missing)}")
    for subject in subjects:
        subject.mend()
    must(seen.until(lambda: not seen.firing, PATIENCE_S), f"still firing: {sorted(seen.firing)}")
    return faults


def _report(seen: Observation, subjects: list[Subject], queries: list[Asked]) -> None:
    print(f"{ABSENT.name:26} {_times(seen, ABSENT)}")
    for subject in subjects:
        print(" ".join((subject.__doc__ or "").split()))
        for alert in sorted(_expected(subject)):
            print(f"  {alert.name:24} {_times(seen, alert)}")
    print(f"{len(queries) - len(seen.unanswered)} of {len(queries)} queries had data")


def _times(seen: Observation, alert: Firing) -> str:
    fired, cleared = seen.fired.get(alert, math.nan), seen.cleared.get(alert, math.nan)
    return f"fired after {fired:5.1f} s, cleared after {cleared:5.1f} s"


if __name__ == "__main__":
    main()
