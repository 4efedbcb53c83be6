"""A long stream over two servers that the trial kills in turn."""

import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.instrument import descendants
from classwire import Classification, Client, StreamItem

from .callers import PATIENCE_S
from .known import Known
from .servers import Process, Replica, process
from .trial import Plan, Report, Trial

LEAST_UNANSWERED = 100
NOTICEABLE_ITEMS = 150
"""Results after which CPU time shows which server computes them."""


class Journey:
    """A stream of `items` items as its caller sees it; the trial lets a share of them go at each
    stage.

    One thread makes and ends it, another runs it; any thread may read it.
    """

    def __init__(self, client: Client, known: Known, items: int, *, in_order: bool) -> None:
        self.taken = 0
        self.allowed = 0
        self.ids: list[str] = []
        self.wrong = 0
        self.failure: BaseException | None = None
        self.is_over = False
        self._client = client
        self._known = known
        self._count = items
        self._in_order = in_order
        self._changed = threading.Condition()  # guards all mutable fields above
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def unanswered(self) -> int:
        """Ids that the client has taken from its caller, and not given back."""
        with self._changed:
            return self.taken - len(self.ids)

    def allow(self, items: int) -> None:
        """Let the source give this many items in all."""
        with self._changed:
            self.allowed = items
            self._changed.notify_all()

    def wait_for(self, results: int, unanswered: int = 0) -> bool:
        """Wait until this many results came in all, and this many ids are unanswered."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self.is_over
                    or (len(self.ids) >= results and self.taken - len(self.ids) >= unanswered)
                ),
                PATIENCE_S,
            )
            return not self.is_over

    def finish(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join(PATIENCE_S)

    def _items(self) -> Iterator[StreamItem]:
        for number in range(self._count):
            with self._changed:
                self._changed.wait_for(lambda: self.taken < self.allowed)
                self.taken += 1
            yield StreamItem(f"item {number}", self._known.text(number))

    def _run(self) -> None:
        try:
            stream = self._client.classify_stream(self._items(), in_order=self._in_order)
            for id_, _, outcome in stream:
                number = int(id_.split()[1])
                is_right = isinstance(outcome, Classification) and self._known.is_right(
                    number, outcome
                )
                with self._changed:
                    self.ids.append(id_)
                    self.wrong += not is_right
                    self._changed.notify_all()
        except BaseException as error:  # reported by the trial
            self.failure = error
        with self._changed:
            self.is_over = True
            self._changed.notify_all()


def busy_ticks(process: Process) -> int:
    """Return the CPU time of a server and its model."""
    ticks = 0
    for pid in (process.pid, *descendants(process.pid)):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks


@dataclass(frozen=True)
class Route:
    """How many items a stream has, and how many kills it must survive."""

    name: str
    items: int
    kills: int
    is_ordered: bool = False


def run(plan: Plan) -> Report:
    """Run two streams, one in order and one as completed."""
    report = Report()
    with ExitStack() as ends:
        replicas = [ends.enter_context(Replica(lambda port: process(plan, port))) for _ in "ab"]
        texts, most_tokens = (400, 30) if plan.is_short else (1_000, 100)
        known = Known.ask(replicas[0].target, texts, (10, most_tokens))
        items, kills = (2_400, 2) if plan.is_short else (20_000, 10)
        for route in (
            Route("as completed", items, kills),
            Route("in order", items, kills, is_ordered=True),
        ):
            travel(plan, report, replicas, known, route)
    return report


def travel(plan: Plan, report: Report, replicas: list[Replica], known: Known, route: Route) -> None:
    """Run one stream, and kill the server that has it at each stage."""
    items, kills = route.items, route.kills
    stage = items // (kills + 1)
    killed: list[int] = []
    unanswered: list[int] = []
    with Client([replica.target for replica in replicas]) as client:
        client.wait_until_ready(PATIENCE_S)
        journey = Journey(client, known, items, in_order=route.is_ordered)
        for number in range(kills):
            journey.allow(items if number + 1 == kills else (number + 1) * stage)
            results = len(journey.ids)
            before = [busy_ticks(replica.process) for replica in replicas]
            journey.wait_for(results + NOTICEABLE_ITEMS, LEAST_UNANSWERED)
            busy = [
                busy_ticks(replica.process) - ticks
                for replica, ticks in zip(replicas, before, strict=True)
            ]
            target = busy.index(max(busy))
            unanswered.append(journey.unanswered)
            replicas[target].end(signal.SIGKILL)
            killed.append(target)
            replicas[target].start()
            plan.say(
                f"{route.name}: kill {number + 1} found {unanswered[-1]} ids unanswered, {busy}"
            )
        journey.finish()
    _judge(report, route, journey, killed, unanswered)


def _judge(
    report: Report, route: Route, journey: Journey, killed: list[int], unanswered: list[int]
) -> None:
    name, items = route.name, route.items
    turns = len(killed) // 2
    of_each = [killed.count(0), killed.count(1)]
    in_turn = all(one != other for one, other in itertools.pairwise(killed))
    report.add(
        f"{name}: kills of the server that had the stream, in turn",
        f"{turns} and {turns}",
        f"{of_each[0]} and {of_each[1]}",
        in_turn and of_each == [turns, turns],
    )
    fewest = min(unanswered)
    report.add(
        f"{name}: ids unanswered at a kill",
        f"at least {LEAST_UNANSWERED}",
        f"at least {fewest}",
        fewest >= LEAST_UNANSWERED,
    )
    distinct = len(set(journey.ids))
    twice = len(journey.ids) - distinct
    report.add(
        f"{name}: distinct ids", f"{items:,}", f"{distinct:,}, {twice} twice",
        distinct == items and not twice,
    )  # fmt: skip
    report.add(f"{name}: wrong answers and errors", "0", journey.wrong, not journey.wrong)
    ending = "OK" if journey.failure is None else f"{journey.failure!s:.100}"
    report.add(f"{name}: the stream ends with", "OK", ending, journey.failure is None)
    if route.is_ordered:
        is_ordered = journey.ids == [f"item {n}" for n in range(items)]
        report.add("in order: results in the order of the items", "yes",
                   "yes" if is_ordered else "no", is_ordered)  # fmt: skip


FAILOVER = Trial(
    "failover",
    "A stream of the client library runs over two servers, in order and as completed. The server "
    "that has the stream is killed (SIGKILL) and restarted at its address, each in turn.",
    run,
)
