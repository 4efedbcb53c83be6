"""Streams that exceed the capacity: each gets a fair share, however much one of them sends."""

import itertools
import time
from collections.abc import Sequence

from benchmarks.checkpoints import BERT_SLICE, save
from benchmarks.figures import digits
from benchmarks.instrument import Instrument

from .trial import Plan, Report, Trial

TEXT_TOKENS = 32
MODEST, GREEDY = 10, 1_020
"""Unanswered texts of a stream. Ten are enough that some always wait, while others are in the
engine and on the wire.
"""
STREAMS = 8
TIMES_MORE = 100
WINDOW_ITEMS = 1_024
BATCH_TOKENS = 512
LEAST_SHARE = 0.8
WARM_UP_S = 3.0

Answers = Sequence[tuple[float, int, int]]
"""Answers of one stream: time, tokens, number of unanswered texts."""


def shares(streams: Sequence[Answers], since_s: float, until_s: float) -> list[float]:
    """Return the tokens of each stream within a time, divided by a fair share."""
    tokens = [
        sum(tokens for at_s, tokens, _ in answers if since_s <= at_s < until_s)
        for answers in streams
    ]
    fair = sum(tokens) / len(tokens)
    return [own / fair for own in tokens]


def run(plan: Plan) -> Report:
    """Run one greedy stream among modest ones on a slow engine."""
    folder = plan.work / BERT_SLICE.name.replace(" ", "-")
    if not folder.exists():
        save(BERT_SLICE, folder)
    seconds = 8.0 if plan.is_short else 40.0
    first, last = plan.cores[:1], plan.cores[-1:]
    with (
        Instrument("tests.chaos.observed_server", last) as server,
        Instrument("tests.chaos.full_streams", first) as load_side,
    ):
        settings = {
            "model": [f"m={folder}"],
            "stream_window_items": WINDOW_ITEMS,
            "batch_tokens": BATCH_TOKENS,
        }
        target = server.ask("start", settings=settings)
        unanswered = [GREEDY, *itertools.repeat(MODEST, STREAMS - 1)]
        load_side.ask("begin", target=target, lengths=[TEXT_TOKENS], unanswered=unanswered)
        began_s = time.monotonic() + WARM_UP_S
        time.sleep(WARM_UP_S + seconds)
        streams = load_side.ask("end")
    greedy, *others = shares(streams, began_s, began_s + seconds)
    plan.say(f"greedy {greedy:.2f}, others {', '.join(f'{share:.2f}' for share in others)}")
    left = [count for at_s, _, count in streams[0] if began_s <= at_s < began_s + seconds]
    least = min(left, default=0) / MODEST
    report = Report()
    report.add(
        "unanswered texts, greedy stream ÷ another, smallest ratio at any time",
        f"{TIMES_MORE} times",
        f"{digits(least)} times: {min(left, default=0)} and at most {MODEST}",
        least >= TIMES_MORE,
    )
    report.add(
        f"tokens of the slowest of the other {len(others)} streams ÷ a fair share",
        f"at least {LEAST_SHARE}",
        f"{digits(min(others))}; the greedy one {digits(greedy)}",
        min(others) >= LEAST_SHARE,
    )
    return report


FAIRNESS = Trial(
    "fairness",
    "Two layers of BERT-base. Server and worker share one core, and the load has another. "
    f"{STREAMS} streams send texts of {TEXT_TOKENS} tokens. One of them keeps {GREEDY} texts "
    f"unanswered, each of the others {MODEST}.",
    run,
)
