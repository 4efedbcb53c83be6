"""Whatever happens in whatever order, each text ends once, and what is counted is right."""

import math
import random
from collections import Counter
from concurrent.futures import CancelledError

import pytest

from classwire_server.errors import RequestError
from classwire_server.scheduling.batch import Batch, Pending, Priority
from classwire_server.scheduling.execution import ForwardPass
from classwire_server.scheduling.scheduler import Scheduler
from tests.scheduling.simulation import PROFILE, logits, waiting

KEYS = 300
LANES = 2


class RandomSchedule:
    """A scheduler to which anything happens at any time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.scheduler = Scheduler(
            lanes=LANES,
            batch_tokens=200,
            profile=PROFILE,
            max_queue_tokens=2_000,
            cache_bytes=self.random.choice((0, 5_000)),
        )
        self.now_s = 1_000.0
        self.texts: list[Pending] = []
        self.running: list[Batch] = []
        self.ended: set[Pending] = set()
        self.deaths = Counter[Pending]()
        self._kinds = [waiting(self.random.randint(1, 100)) for _ in range(KEYS)]

    def step(self) -> None:
        """Let one thing happen, and check what must always hold."""
        happens = (self.call, self.stream, self.withdraw, self.wait, self.take, self.take, self.end)
        self.random.choice(happens)()
        self.check()

    def call(self) -> None:
        """Some texts come, and are admitted or not."""
        priority, after_s = self.random.choice(list(Priority)), self.random.expovariate(1)
        texts = [self._text(priority, after_s, None) for _ in range(self.random.randint(1, 5))]
        try:
            self.scheduler.admit(texts, self.now_s)
        except RequestError:
            return
        self._add(texts)

    def stream(self) -> None:
        """A text of a stream comes if there is room."""
        priority, flow = self.random.choice(list(Priority)), self.random.randint(1, 3)
        text = self._text(priority, self.random.choice((1.0, math.inf)), flow)
        if self.scheduler.has_room(text):
            self._add([text])

    def withdraw(self) -> None:
        """Callers go, before their texts run, meanwhile, and afterwards."""
        if self.texts:
            self.scheduler.withdraw(self.random.choices(self.texts[-30:], k=3))

    def wait(self) -> None:
        """Time passes."""
        self.now_s += self.random.expovariate(5)
        self.scheduler.expire(self.now_s)

    def take(self) -> None:
        """A lane is free, or the one beside them."""
        for take in (self.scheduler.take, self.scheduler.take_urgent):
            batch = take(self.now_s)
            if batch is None:
                continue
            assert batch.rows
            assert batch.tokens == sum(row[0].tokens for row in batch.rows)
            assert not any(text in self.ended for row in batch.rows for text in row)
            is_suspect = any(text.deaths for row in batch.rows for text in row)
            assert not is_suspect or (len(batch.rows) == 1 and not self.running)
            assert not any(row[0].deaths for other in self.running for row in other.rows)
            self.running.append(batch)

    def end(self) -> None:
        """A batch is over: answered, failed, never begun, or the worker ended."""
        if not self.running:
            return
        batch = self.running.pop(self.random.randrange(len(self.running)))
        fate = self.random.random()
        if fate < 0.06:
            texts = {text for row in batch.rows for text in row if not text.ended}
            self.deaths.update(texts)
            self.scheduler.run_again(batch, has_died=True)
            assert all(text.deaths >= self.deaths[text] for text in texts)
        elif fate < 0.2:
            self.scheduler.run_again(batch, has_died=False)
        else:
            middle = self.random.randint(0, len(batch.rows))
            parts = [part for part in (batch.rows[:middle], batch.rows[middle:]) if part]
            self.scheduler.finish(batch, [self._pass(part) for part in parts], self.now_s)

    def check(self) -> None:
        """What has ended is told once, and is right; what has not is waiting or running."""
        scheduler = self.scheduler
        for text in scheduler.ended:
            assert text not in self.ended
            assert (text.answer is None) != (text.error is None)
            self.ended.add(text)
        scheduler.ended.clear()
        left = {text for text in self.texts if not text.ended}
        waits = {text for text in left if text.waits}
        runs = {text for batch in self.running for row in batch.rows for text in row}
        assert left == waits | (runs & left)
        assert not waits & runs
        assert scheduler.waiting_texts == len(waits)
        normal = {text.key: text.tokens for text in waits if not text.deaths}
        assert scheduler._queue.tokens == sum(normal.values())
        assert scheduler.earliest_deadline_s == min(
            (text.deadline_s for text in waits), default=math.inf
        )

    def finish(self) -> None:
        """Let all that waits and runs be answered."""
        while self.running or self.scheduler.waiting_texts:
            self.take()
            batch = self.running.pop()
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
        said = logits(len(rows), 0.001 * tokens)
        return ForwardPass(len(rows), tokens, ValueError() if self.random.random() < 0.1 else said)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens(seed: int) -> None:
    """In thousands of random steps no text ends twice, runs after its end, or is lost; suspects run
    alone; counts are those of what waits, and return to zero.
    """
    schedule = RandomSchedule(seed)
    for _ in range(600):
        schedule.step()
    schedule.finish()

    assert all(text in schedule.ended for text in schedule.texts)
    assert max(schedule.deaths.values()) <= 2
    assert (schedule.scheduler.waiting_texts, schedule.scheduler._queue.tokens) == (0, 0)
    assert not schedule.scheduler._queue.has_suspects
    for turns in schedule.scheduler._queue._turns.values():
        assert (bool(turns), turns.tokens_before(0.0)) == (False, 0)
    kinds = {type(text.error) for text in schedule.texts}
    assert kinds >= {type(None), RequestError, CancelledError, ValueError}
