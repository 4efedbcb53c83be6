"""The campaign as a trial."""

import random

from tests.chaos.trial import Plan, Report, Trial

from .campaign import fuzz
from .tally import INPUT_REASONS, LEAST_PARSED


def run(plan: Plan) -> Report:
    """Send messages and frames of a random seed, which the report states."""
    seed = random.randrange(1 << 32)
    plan.say(f"seed {seed}")
    messages, frames = (5_000, 2_000) if plan.is_short else (250_000, 100_000)
    tally = fuzz(messages, frames, seed, plan.work, plan.say)
    sent = f"{tally.messages.total():,} messages, {tally.frames.total():,} frames"
    report = Report(series={"seed": seed, "table": tally.table()})
    report.add(
        f"{sent}, seed {seed}",
        "no crash, no hang, no INTERNAL, no UNKNOWN, nothing left behind",
        "; ".join(tally.wrongs) or "none",
        not tally.wrongs,
    )
    parsed = tally.parsed_share
    report.add("messages that parse", "at least 90 %", f"{parsed:.1%}", parsed >= LEAST_PARSED)
    unreached = tally.unreached()
    reached = f"{len(INPUT_REASONS) - len(unreached)} of {len(INPUT_REASONS)}"
    report.add("reasons of the contract for input", "all", reached, not unreached)
    return report


FUZZ = Trial(
    "fuzz",
    "Every RPC of the port gets messages mutated by structure and by bytes, and the port gets "
    "handmade HTTP/2 frames.",
    run,
)
