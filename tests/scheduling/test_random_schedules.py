"""In any order of events each text ends once, and the counts are right."""

import math
import random
from collections import Counter
from concurrent.futures import CancelledError

import pytest

from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.scheduler import Bounds, Scheduler
from tests.scheduling.simulation import PROFILE, logits, waiting

KEYS = 300
LANES = 2


class RandomSchedule:
    """A scheduler and random events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.scheduler = Scheduler(
            lanes=LANES,
            batch_tokens=200,
            profile=PROFILE,
            bounds=Bounds(2_000, self.random.choice((0, 5_000)), poison_expiry_s=2.0),
        )
        self.now_s = 1_000.0
        self.texts: list[Pending] = []
        self.in_flight: list[Batch] = []
        self.ended: set[Pending] = set()
        self.deaths = Counter[Pending]()
        self._kinds = [waiting(self.random.randint(1, 100)) for _ in range(KEYS)]

    def step(self) -> None:
        """Let one event happen, and check the invariants."""
        events = (self.call, self.stream, self.withdraw, self.wait, self.take, self.take, self.end)
        self.random.choice(events)()
        self.check()

    def call(self) -> None:
        """A call arrives, and the scheduler admits or rejects it."""
        priority, after_s = self.random.choice(list(Priority)), self.random.expovariate(1)
        texts = [self._text(priority, after_s, None) for _ in range(self.random.randint(1, 5))]
        try:
            self.scheduler.admit(texts, self.now_s)
        except RequestError:
            return
        self._add(texts)

    def stream(self) -> None:
        """A text of a stream arrives if there is room."""
        priority, flow = self.random.choice(list(Priority)), self.random.randint(1, 3)
        text = self._text(priority, self.random.choice((1.0, math.inf)), flow)
        if self.scheduler.has_room(text):
            self._add([text])

    def withdraw(self) -> None:
        """Callers go away while their texts are queued, in flight, or over."""
        if self.texts:
            self.scheduler.withdraw(self.random.choices(self.texts[-30:], k=3))

    def wait(self) -> None:
        """Time passes."""
        self.now_s += self.random.expovariate(5)
        self.scheduler.expire(self.now_s)

    def take(self) -> None:
        """The engine asks for a batch, and for an urgent one."""
        for take in (self.scheduler.take, self.scheduler.take_urgent):
            batch = take(self.now_s)
            if batch is None:
                continue
            assert batch.rows
            assert batch.tokens == sum(row[0].tokens for row in batch.rows)
            assert not any(text in self.ended for row in batch.rows for text in row)
            is_suspect = any(text.is_suspect for row in batch.rows for text in row)
            assert not is_suspect or (len(batch.rows) == 1 and not self.in_flight)
            assert not any(row[0].is_suspect for other in self.in_flight for row in other.rows)
            self.in_flight.append(batch)

    def end(self) -> None:
        """A batch is over: answered, failed, never begun, or lost with the worker."""
        if not self.in_flight:
            return
        batch = self.in_flight.pop(self.random.randrange(len(self.in_flight)))
        fate, deadly = self.random.random(), 0.4 if batch.rows[0][0].is_suspect else 0.06
        if fate < deadly:
            texts = {text for row in batch.rows for text in row if not text.ended}
            is_alone = not self.in_flight
            if is_alone and len(batch.rows) == 1:
                self.deaths.update(texts)
            self.scheduler.lost(batch, self.now_s, is_alone=is_alone)
            assert all(text.is_suspect for text in texts)
        elif fate < deadly + 0.14:
            self.scheduler.run_again(batch)
        else:
            middle = self.random.randint(0, len(batch.rows))
            parts = [part for part in (batch.rows[:middle], batch.rows[middle:]) if part]
            self.scheduler.finish(batch, [self._pass(part) for part in parts], self.now_s)

    def check(self) -> None:
        """Each text has ended once, or is queued, or is in flight."""
        scheduler = self.scheduler
        for text in scheduler.ended:
            assert text not in self.ended
            assert (text.answer is None) != (text.error is None)
            self.ended.add(text)
        scheduler.ended.clear()
        left = {text for text in self.texts if not text.ended}
        queued = {text for text in left if text.is_queued}
        in_flight = {text for batch in self.in_flight for row in batch.rows for text in row}
        assert left == queued | (in_flight & left)
        assert not queued & in_flight
        assert scheduler.waiting_texts == len(queued)
        normal = {text.key: text.tokens for text in queued if not text.is_suspect}
        assert sum(scheduler.backlog().waiting_tokens.values()) == sum(normal.values())
        assert scheduler.earliest_deadline_s == min(
            (text.deadline_s for text in queued), default=math.inf
        )

    def finish(self) -> None:
        """Answer all texts that are queued or in flight."""
        while self.in_flight or self.scheduler.waiting_texts:
            self.take()
            batch = self.in_flight.pop()
            self.scheduler.finish(batch, [self._pass(batch.rows)], self.now_s)
            self.check()

    def _text(self, priority: Priority, after_s: float, flow: int | None) -> Pending:
        same_as = self._kinds[int(self.random.expovariate(1 / 30)) % KEYS]
        return waiting(0, priority, self.now_s + after_s, flow, same_as)

    def _add(self, texts: list[Pending]) -> None:
        self.texts += texts
        self.scheduler.add(texts, self.now_s)

    def _pass(self, rows: list[list[Pending]]) -> ForwardPass:
        tokens = sum(row[0].tokens for row in rows)
        result = ValueError() if self.random.random() < 0.1 else logits(len(rows), 0.001 * tokens)
        return ForwardPass(len(rows), tokens, result)


@pytest.mark.parametrize("seed", range(8))
def test_random_events(seed: int) -> None:
    """In hundreds of random events no text ends twice, runs after its end, or is lost. Suspects run
    alone. The counts follow the queued texts, and return to zero.
    """
    schedule = RandomSchedule(seed)
    for _ in range(600):
        schedule.step()
    schedule.finish()

    assert all(text in schedule.ended for text in schedule.texts)
    assert max(schedule.deaths.values(), default=0) <= 2
    scheduler = schedule.scheduler
    assert scheduler.waiting_texts == 0
    assert set(scheduler.backlog().waiting_tokens.values()) == {0}
    assert not scheduler.may_take
    assert not scheduler.may_take_urgent
    kinds = {type(text.error) for text in schedule.texts}
    assert kinds >= {type(None), RequestError, CancelledError, ValueError}

    last = waiting(1, Priority.BULK)  # no suspect, flow or token is left that goes before it
    scheduler.add([last], schedule.now_s)
    assert scheduler.least_s(0.0) == scheduler.least_s(math.inf)
    batch = scheduler.take(schedule.now_s)
    assert batch is not None
    assert batch.rows == [[last]]
