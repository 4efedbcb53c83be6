"""One text that kills every process that computes it, among 63 that do not."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmarks.checkpoints import embedded_words
from classwire import Classification, ClasswireError, Client, Outcome
from tests.faults import Succession, dies_on_long_texts

from .callers import PATIENCE_S
from .known import Known
from .servers import inside
from .trial import Plan, Report, Trial

TEXTS = 64
PLACE = 40
"""Position of the poison text."""

Ask = Callable[[Client, Sequence[str]], list[Outcome]]


def in_a_batch(client: Client, texts: Sequence[str]) -> list[Outcome]:
    """Send all texts in one call."""
    return client.classify_batch(texts)


def in_a_stream(client: Client, texts: Sequence[str]) -> list[Outcome]:
    """Send all texts in one stream."""
    return [outcome for _, _, outcome in client.classify_stream(texts, in_order=True)]


def in_calls(client: Client, texts: Sequence[str]) -> list[Outcome]:
    """Send each text in a call of its own, all at once."""

    def call(text: str) -> Outcome:
        try:
            return client.classify(text)
        except ClasswireError as error:
            return error

    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(call, texts))


def run(plan: Plan) -> Report:
    """Send a poison text and 63 others by each kind of call, twice."""
    report = Report()
    poisons = embedded_words()
    spawn = Succession(dies_on_long_texts)
    kinds: dict[str, Ask] = {"one batch": in_a_batch}
    if not plan.is_short:
        kinds.update({"one stream": in_a_stream, "64 calls at once": in_calls})
    with inside(plan, spawn, lanes=1, threads=1, batch_tokens=4_096) as server:
        known = Known.ask(server.target, TEXTS * len(kinds), (8, 24))
        with Client(server.target, timeout_s=PATIENCE_S) as client:
            for number, (kind, ask) in enumerate(kinds.items()):
                numbers = range(number * TEXTS, (number + 1) * TEXTS)
                texts = [known.text(n) for n in numbers]
                texts[PLACE] = f"{poisons[number]} " * 400
                for again in (False, True):
                    before = len(spawn.workers)
                    outcomes = ask(client, texts)
                    # The process that answers this is the last one: all others have ended.
                    client.classify(f"{poisons[-1]} {kind} {again}")
                    deaths = len(spawn.workers) - before
                    plan.say(f"{kind}: {deaths} deaths")
                    _judge(report, kind, again, known, numbers, outcomes, deaths)
    return report


def _judge(
    report: Report,
    kind: str,
    again: bool,
    known: Known,
    numbers: Sequence[int],
    outcomes: Sequence[Outcome],
    deaths: int,
) -> None:
    poison, others = outcomes[PLACE], [*outcomes[:PLACE], *outcomes[PLACE + 1 :]]
    places = [*numbers[:PLACE], *numbers[PLACE + 1 :]]
    right = sum(
        isinstance(outcome, Classification) and known.is_right(n, outcome)
        for n, outcome in zip(places, others, strict=True)
    )
    reason = str(poison.reason) if isinstance(poison, ClasswireError) else "answered"
    what = f"64 texts in {kind}{', the second time' if again else ''}"
    asked = f"63 right answers, 1 POISON_INPUT, {'0' if again else '2 or 3'} deaths of the process"
    found = f"{right} right answers, 1 {reason}, {deaths} deaths"
    is_met = (
        right == TEXTS - 1 and reason == "POISON_INPUT" and deaths in ((0,) if again else (2, 3))
    )
    report.add(what, asked, found, is_met)


POISON = Trial(
    "poison",
    "Each kind of call sends 64 texts, and the model's process dies on one of them. Then the same "
    "call is made again.",
    run,
)
