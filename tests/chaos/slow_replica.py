"""Two replicas behind Envoy, one with passes that take twice as long."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.figures import digits, quantile
from classwire import Classification, Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from scripts.envoy import Envoy
from tests.contract.engines import FakeEngine

from .callers import PATIENCE_S
from .trial import Plan, Report, Trial

TOKENS_PER_S = 2_000.0
"""Of the fast replica. Both wait instead of computing, so they do not compete for cores."""
TIMES_SLOWER = 2.0
SENTENCE = "I really love this book, and I will read it again. "
CALLERS = 32
STREAMS = 8
"""Envoy draws the replica of each; with fewer, one replica may have none."""
LEAST_OF_SUM = 0.9
"""Calls by turns would reach 2/3: each replica would answer as many as the slow one."""


class PacedEngine(FakeEngine):
    """An engine whose passes take a time for each token."""

    def __init__(self, tokens_per_s: float) -> None:
        super().__init__()
        self._s_per_token = 1 / tokens_per_s
        self._never = threading.Event()

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """See FakeEngine."""
        self._never.wait(self._s_per_token * sum(len(encoding.ids) for encoding in encodings))
        return super().infer(encodings, terms)


def texts() -> Iterator[str]:
    """Yield texts of one length, all different: a server computes equal texts once."""
    for _ in itertools.count():
        yield f"{random.randrange(10**6)} {SENTENCE * 4}"


@dataclass(frozen=True)
class Sample:
    """The answers of one phase."""

    tokens_per_s: float
    times_s: Sequence[float]

    @property
    def p99_s(self) -> float:
        """The p99 of the times."""
        return quantile(self.times_s, 0.99)


def unary(target: str, seconds: float) -> Sample:
    """Call from several threads, each one call after the other."""

    def calls(client: Client) -> Iterator[Classification]:
        yield from map(client.classify, texts())

    return _measure(target, seconds, [calls] * CALLERS, retry=True)


def streams(target: str, seconds: float) -> Sample:
    """Run streams; an answer's time is that since the one before."""

    def results(client: Client) -> Iterator[Classification]:
        for _, _, outcome in client.classify_stream(texts()):
            assert isinstance(outcome, Classification), outcome
            yield outcome

    return _measure(target, seconds, [results] * STREAMS, retry=False)


def _measure(
    target: str,
    seconds: float,
    kinds: Sequence[Callable[[Client], Iterator[Classification]]],
    *,
    retry: bool,
) -> Sample:
    """Count answers for some seconds, after a quarter of that time."""
    began_s = time.monotonic() + seconds / 4
    until_s = began_s + seconds
    taken: list[tuple[float, int]] = []  # list.append is atomic

    def run(answers: Iterator[Classification]) -> None:
        last_s = time.monotonic()
        for answer in answers:
            now_s = time.monotonic()
            if now_s >= until_s:
                return
            if last_s >= began_s:
                taken.append((now_s - last_s, answer.token_count))
            last_s = now_s

    with ExitStack() as ends:
        clients = [ends.enter_context(Client(target, retry=retry)) for _ in kinds]
        threads = [
            threading.Thread(target=run, args=(kind(client),), daemon=True)
            for kind, client in zip(kinds, clients, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
    return Sample(sum(tokens for _, tokens in taken) / seconds, [took_s for took_s, _ in taken])


def run(plan: Plan) -> Report:
    """Measure each replica alone and both together."""
    report = Report()
    seconds = 4.0 if plan.is_short else 20.0
    folder = plan.work / "envoy"
    folder.mkdir(exist_ok=True)
    with ExitStack() as ends:
        fast, slow = (
            ends.enter_context(Server(ServerConfig(port=0), PacedEngine(speed).launch)).target
            for speed in (TOKENS_PER_S, TOKENS_PER_S / TIMES_SLOWER)
        )
        for kind in (unary, streams):
            found: list[Sample] = []
            for replicas in ([fast], [slow], [fast, slow]):
                with Envoy(folder, replicas) as envoy:
                    found.append(kind(envoy.target, seconds))
            _add_findings(report, kind.__name__, *found)
            plan.say(kind.__name__)
    return report


def _add_findings(report: Report, kind: str, fast: Sample, slow: Sample, both: Sample) -> None:
    together = both.tokens_per_s / (fast.tokens_per_s + slow.tokens_per_s)
    report.add(
        f"{kind}: tokens/s of both ÷ the sum of each alone",
        f"at least {LEAST_OF_SUM}",
        f"{digits(together)}: {both.tokens_per_s:,.0f} of {fast.tokens_per_s:,.0f} and "
        f"{slow.tokens_per_s:,.0f}",
        together >= LEAST_OF_SUM,
    )
    report.add(
        f"{kind}: p99 of both, and of the slow one alone",
        "no higher",
        f"{digits(1e3 * both.p99_s)} and {digits(1e3 * slow.p99_s)} ms",
        both.p99_s <= slow.p99_s,
    )


SLOW_REPLICA = Trial(
    "slow-replica",
    f"Two replicas behind Envoy, whose engines wait instead of computing: {TOKENS_PER_S:,.0f} "
    f"tokens/s and half of that. {CALLERS} callers with a call each, then {STREAMS} streams, on "
    "either alone and on both.",
    run,
)
