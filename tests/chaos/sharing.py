"""Several models in one server: each gets its share of the device, however busy another is."""

import time

from benchmarks.checkpoints import BERT_SLICE, save
from benchmarks.figures import digits
from benchmarks.instrument import Instrument

from .trial import Plan, Report, Trial

TEXT_TOKENS = 32
UNANSWERED = 1_020
CALLERS = 32
BATCH_TOKENS = 512
LEAST_SHARE = 0.8
WARM_UP_S = 3.0


def run(plan: Plan) -> Report:
    """Run a model with a full stream next to one with unary callers."""
    folder = plan.work / BERT_SLICE.name.replace(" ", "-")
    if not folder.exists():
        save(BERT_SLICE, folder)
    seconds = 8.0 if plan.is_short else 40.0
    first, last = plan.cores[:1], plan.cores[-1:]
    with (
        Instrument("tests.chaos.observed_server", last) as server,
        Instrument("tests.chaos.full_streams", first) as streams,
        Instrument("tests.chaos.busy_callers", first) as callers,
    ):
        settings = {
            "model": [f"full={folder}", f"calm={folder}"],
            "stream_window_items": UNANSWERED + 4,
            "batch_tokens": BATCH_TOKENS,
        }
        target = server.ask("start", settings=settings)
        streams.ask("begin", target=target, lengths=[TEXT_TOKENS], unanswered=[UNANSWERED])
        callers.ask("begin", target=target, model="calm", callers=CALLERS, tokens=TEXT_TOKENS)
        since_s = time.monotonic() + WARM_UP_S
        time.sleep(WARM_UP_S + seconds)
        calm = [(at_s, tokens) for at_s, tokens in callers.ask("end")]
        (full,) = ([(at_s, tokens) for at_s, tokens, _ in one] for one in streams.ask("end"))
    other, own = _rate(full, since_s, seconds), _rate(calm, since_s, seconds)
    plan.say(f"full {other:,.0f} tokens/s, calm {own:,.0f}")
    report = Report()
    share = own / ((other + own) / 2)
    report.add(
        "tokens of the model with unary callers ÷ a fair share",
        f"at least {LEAST_SHARE}",
        f"{digits(share)}; {own:,.0f} tokens/s next to {other:,.0f}",
        share >= LEAST_SHARE,
    )
    return report


def _rate(answers: list[tuple[float, int]], since_s: float, seconds: float) -> float:
    return sum(n for at_s, n in answers if since_s <= at_s < since_s + seconds) / seconds


SHARING = Trial(
    "sharing",
    "Two layers of BERT-base under two names. Server and workers share one core, and the load has "
    f"another. A stream keeps {UNANSWERED} texts of {TEXT_TOKENS} tokens in one model's queue, and "
    f"{CALLERS} callers make unary calls to the other model.",
    run,
)
