"""A stream with long texts, read in windows by two servers that the trial kills."""

from contextlib import ExitStack
from typing import Any

from .failover import Route, travel
from .known import Known
from .servers import Replica, process
from .trial import Plan, Report, Trial

WINDOWS, WINDOW_TOKENS, WINDOW_STEP = 20, 64, 47
LONG_TOKENS = WINDOW_TOKENS + (WINDOWS - 1) * WINDOW_STEP
SHORT_TOKENS = 30
SETTINGS: dict[str, Any] = {
    "truncation": "windows",
    "max_tokens": WINDOW_TOKENS,
    "max_windows_per_call": 1_000,
}
"""Windows of 62 tokens of the text, of which neighbours share 15."""


def run(plan: Plan) -> Report:
    """Run a stream of which each tenth text has 20 windows."""
    report = Report()
    items, distinct = (900, 200) if plan.is_short else (2_000, 1_000)
    with ExitStack() as ends:
        replicas = [
            ends.enter_context(Replica(lambda port: process(plan, port, **SETTINGS))) for _ in "ab"
        ]
        lengths = [LONG_TOKENS if n % 10 == 0 else SHORT_TOKENS for n in range(distinct)]
        known = Known.of(lengths, replicas[0].target)
        travel(plan, report, replicas, known, Route("as completed", items, kills=2))
    return report


LONG_TEXTS = Trial(
    "long-texts",
    "A stream of the client library runs over two servers. A tenth of its texts are read in "
    f"{WINDOWS} windows. The server that has the stream is killed (SIGKILL) and restarted at its "
    "address, twice.",
    run,
)
