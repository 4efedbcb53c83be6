"""Callers that run until the end of a trial, and a ledger of their outcomes."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from classwire import Classification, ClasswireError, Client, Outcome, StreamItem

from .known import Known
from .trial import Report

PATIENCE_S = 120.0
"""Longest wait of a trial for anything; the callers' own timeouts are shorter."""
BATCH_TEXTS = 16


class Ledger:
    """Requests by number, and their outcomes. Any thread may call any method."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.right = 0
        self.wrong = 0
        self.failures: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._open: set[int] = set()
        self._changed = threading.Condition()  # guards all above

    @property
    def open(self) -> frozenset[int]:
        """Numbers without an outcome so far."""
        with self._changed:
            return frozenset(self._open)

    @property
    def asked(self) -> int:
        """How many texts were sent."""
        with self._changed:
            return self.right + self.wrong + self.failures.total() + len(self._open)

    def begin(self) -> int:
        """Return the number of a new text."""
        with self._changed:
            number = next(self._numbers)
            self._open.add(number)
            return number

    def end(self, number: int, outcome: Outcome) -> None:
        """Record an outcome. Raises KeyError when the number has one already."""
        is_right = isinstance(outcome, Classification) and self.known.is_right(number, outcome)
        with self._changed:
            self._open.remove(number)
            if isinstance(outcome, ClasswireError):
                self.failures[str(outcome.reason or outcome.code.name)] += 1
            elif is_right:
                self.right += 1
            else:
                self.wrong += 1
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], object]) -> bool:
        """Wait until outcomes make a condition true; return False after PATIENCE_S."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(condition()), PATIENCE_S)

    def wait_for_answers(self, count: int) -> bool:
        """Wait for `count` more right answers."""
        enough = self.right + count
        return self.wait_until(lambda: self.right >= enough)

    def wait_for(self, numbers: frozenset[int]) -> bool:
        """Wait until all of these numbers have an outcome."""
        return self.wait_until(lambda: self._open.isdisjoint(numbers))

    def report(self, report: Report, who: str, *, may_fail: tuple[str, ...] = ()) -> None:
        """Add the findings of all callers: every text has an outcome, every answer is right, and
        only errors in `may_fail` came.
        """
        found = f"{len(self.open)} of {self.asked:,}"
        report.add(f"{who}: texts without an outcome", "0", found, not self.open and self.right > 0)
        found = f"{self.wrong} of {self.right + self.wrong:,}"
        report.add(f"{who}: wrong answers", "0", found, not self.wrong)
        bad = {reason: n for reason, n in self.failures.items() if reason not in may_fail}
        found = ", ".join(f"{n} {reason}" for reason, n in self.failures.items()) or "0"
        asked = f"none but {', '.join(may_fail)}" if may_fail else "0"
        report.add(f"{who}: errors", asked, found, not bad)


class Callers:
    """Threads that call in a loop until the end of the block, and then wait for their last
    outcome.

    `unary`, `batches` and `streams` are the numbers of threads for each kind of call. A stream has
    at most `window` items without a result; 0 is the server's default.
    """

    def __init__(
        self,
        client: Client,
        ledger: Ledger,
        *,
        unary: int = 0,
        batches: int = 0,
        streams: int = 0,
        window: int = 0,
    ) -> None:
        self._client = client
        self._ledger = ledger
        self._window = window or None
        self._end = threading.Event()
        kinds = [self.unary] * unary + [self.batch] * batches + [self.stream] * streams
        self._threads = [
            threading.Thread(target=self._repeat, args=(kind,), daemon=True) for kind in kinds
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _repeat(self, call: Callable[[], None]) -> None:
        while not self._end.is_set():
            call()

    def unary(self) -> None:
        """Make a unary call, and record its outcome."""
        number = self._ledger.begin()
        outcome: Outcome
        try:
            outcome = self._client.classify(self._ledger.known.text(number))
        except ClasswireError as error:
            outcome = error
        self._ledger.end(number, outcome)

    def batch(self) -> None:
        """Make a batch call, and record its outcomes."""
        numbers = [self._ledger.begin() for _ in range(BATCH_TEXTS)]
        outcomes: list[Outcome]
        try:
            outcomes = self._client.classify_batch(map(self._ledger.known.text, numbers))
        except ClasswireError as error:
            outcomes = [error] * len(numbers)
        for number, outcome in zip(numbers, outcomes, strict=True):
            self._ledger.end(number, outcome)

    def stream(self) -> None:
        """Make a stream of `items`, and record its outcomes."""
        try:
            for id_, _, outcome in self._client.classify_stream(self.items(), window=self._window):
                self._ledger.end(int(id_), outcome)
        except ClasswireError as error:
            for id_ in error.unanswered:
                self._ledger.end(int(id_), error)

    def items(self) -> Iterator[StreamItem]:
        """Yield items until the end of the block."""
        while not self._end.is_set():
            number = self._ledger.begin()
            yield StreamItem(str(number), self._ledger.known.text(number))


def start(
    ends: ExitStack,
    target: str | Sequence[str],
    ledger: Ledger,
    *,
    retry: bool = True,
    **kinds: int,
) -> None:
    """Run callers with one client until the end of a block."""
    client = ends.enter_context(Client(target, retry=retry))
    ends.enter_context(Callers(client, ledger, **kinds))
