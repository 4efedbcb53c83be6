"""Admission, order, packing, expiry. Pure: no threads, no torch, no transport.

The clock is passed in as `now_s`, in seconds of any monotonic clock.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace

from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import (
    RequestError,
    draining,
    expired_in_queue,
    poison_input,
    worker_lost,
)

from .admission import Admission
from .backlog import Backlog, Events
from .batch import Answer, Batch, Key, Pending, Priority, distinct
from .batch_sizing import BatchSizing
from .execution import ForwardPass
from .in_flight import InFlight
from .poison import MAX_DEATHS, PoisonTracker
from .request_queue import RequestQueue
from .result_cache import ResultCache

MAX_AHEAD_S = 0.05
"""A batch is sent ahead if it starts within this: what comes after can't overtake it any more."""
TOO_LATE = "the time limit can't be met"


class Scheduler:
    """What goes to one engine, when, and beside what.

    Texts that have ended lie in `ended` until its owner tells those who wait for them. Not safe for
    use by several threads: its owner holds a lock around each call.
    """

    def __init__(
        self,
        *,
        lanes: int,
        batch_tokens: int,
        profile: LatencyProfile,
        max_queue_tokens: int,
        cache_bytes: int,
    ) -> None:
        self.ended: list[Pending] = []
        self._events = Events()
        self._queue = RequestQueue(max_queue_tokens)
        self._running = InFlight(lanes)
        self._admission = Admission(lanes, batch_tokens, profile)
        self._sizing = BatchSizing(batch_tokens, profile, self._admission)
        self._cache = ResultCache(cache_bytes)
        self._suspicion = PoisonTracker()

    @property
    def waiting_texts(self) -> int:
        """How many texts wait for the engine."""
        return len(self._queue)

    def backlog(self) -> Backlog:
        """What there is to do at this moment."""
        queue, running = self._queue, self._running
        return Backlog(
            queue.texts(),
            {priority: queue.tokens_of(priority) for priority in Priority},
            min(len(running.batches), running.lanes),
            self._admission.tokens_per_s,
            len(self._cache),
            self._cache.bytes,
            replace(self._events),
        )

    @property
    def earliest_deadline_s(self) -> float:
        """Nothing expires before this."""
        return self._queue.earliest_deadline_s

    @property
    def may_take(self) -> bool:
        """Whether work waits that a lane is free for, or that may be sent ahead of the next one.

        Sending ahead pays when at least as much waits as runs; less is better left to grow. Bulk
        work never goes ahead behind interactive work: batches that are sent one right after the
        other may start in either order. A suspect waits until nothing else runs.
        """
        queue, running = self._queue, self._running
        if queue.has_suspects:
            return not running
        if running.is_alone or not len(queue):
            return False
        if len(running.batches) != running.lanes:
            return running.free_lanes > 0
        if queue.next_priority() is Priority.BULK and not running.is_all_bulk:
            return False
        soon_s = self._admission.lane_s(running.shortest_tokens, Priority.BULK)
        return 0 < soon_s <= MAX_AHEAD_S and queue.tokens >= min(
            running.shortest_tokens, self._sizing.batch_tokens
        )

    @property
    def may_take_urgent(self) -> bool:
        """Whether interactive work would have to wait for bulk batches in flight."""
        queue, running = self._queue, self._running
        return (
            running.urgent is None
            and not running.is_alone
            and not running.free_lanes
            and running.holds_bulk
            and not queue.has_suspects
            and queue.first(Priority.INTERACTIVE) is not None
        )

    def admit(self, texts: Sequence[Pending], now_s: float) -> None:
        """Check that a call's texts, all of one priority and deadline, can be answered in time.

        An idle engine takes anything, so that no call is too large ever to be served. What is late
        already expires. Raises RequestError OVERLOADED.
        """
        queue, running = self._queue, self._running
        self._admission.called(len(texts), sum(text.tokens for text in texts))
        new = [text for text in distinct(texts) if not self._is_known(text.key)]
        if not new or new[0].deadline_s <= now_s or not (len(queue) or running):
            return
        priority, deadline_s = new[0].priority, new[0].deadline_s
        sizes_tokens = [text.tokens for text in new]
        finish_s = self._admission.finish_s(
            priority,
            sizes_tokens,
            running.tokens_before(priority),
            queue.tokens_before(priority, deadline_s),
        )
        tokens = sum(sizes_tokens)
        if queue.is_full(tokens, priority):
            raise self._admission.refuse(tokens, queue.tokens, now_s, "the queue is full")
        if now_s + finish_s > deadline_s:
            raise self._admission.refuse(tokens, queue.tokens, now_s, TOO_LATE)

    def least_s(self, deadline_s: float) -> float:
        """How long a text with this deadline takes at the least that comes now: what `admit` asks
        of a short one. 0 where its answer may be known.
        """
        queue, running = self._queue, self._running
        if self._cache.is_on or not (len(queue) or running):
            return 0.0
        priority = Priority.INTERACTIVE
        running_tokens = running.tokens_before(priority)
        waiting_tokens = queue.tokens_before(priority, deadline_s)
        return self._admission.finish_s(priority, [1], running_tokens, waiting_tokens)

    def refuse(self, now_s: float) -> RequestError:
        """Count a call as refused that has less time, and a text that nobody has seen."""
        return self._admission.refuse(
            self._admission.text_tokens, self._queue.tokens, now_s, TOO_LATE
        )

    def has_room(self, text: Pending) -> bool:
        """Whether a text of a stream may wait."""
        return self._queue.has_room(text) or self._is_known(text.key)

    def add(self, texts: Iterable[Pending], now_s: float) -> None:
        """Let texts wait, unless their answers are known, or under way."""
        for text in texts:
            self._sizing.came(text.priority, now_s)
            text.queued_s = now_s
            text.deaths = self._suspicion.deaths(text.key)
            if answer := self._cache.get(text.key):
                text.cached = True
                self._events.cached += 1
                self._answer([text], answer, 0)
            elif self._suspicion.is_poison(text.key):
                self.end([text], poison_input())
            elif (row := self._running.row(text.key)) is not None:
                self._events.coalesced += 1
                row.append(text)
            else:
                self._events.coalesced += self._queue.holds(text.key)
                self._queue.add(text)

    def end(self, texts: Iterable[Pending], error: BaseException) -> None:
        """End texts with an error, wherever they are; those that have ended stay as they are."""
        for text in texts:
            self._queue.remove(text)
            if not text.ended:
                self._events.cancelled += isinstance(error, CancelledError)
                text.error = error
                self.ended.append(text)

    def withdraw(self, texts: Iterable[Pending]) -> None:
        """End texts whose caller has gone; what is in the engine runs to its end without them."""
        self.end(texts, CancelledError())

    def expire(self, now_s: float) -> None:
        """End all texts whose deadline has passed."""
        for text in self._queue.expire(now_s):
            self._events.expired += 1
            self.end([text], worker_lost() if text.deaths else expired_in_queue())

    def close(self) -> None:
        """End all that waits."""
        self.end(self._queue.take_all(), draining())

    def take(self, now_s: float) -> Batch | None:
        """The next batch for a lane, which counts as running from now on."""
        if not self.may_take:
            return None
        if self._queue.has_suspects:
            return self._running.enter(self._queue.take_suspect(), alone=True)
        begins_s = self._begins_s(now_s)
        while (priority := self._queue.next_priority()) is not None:
            if not self._shed(priority, begins_s, now_s):
                budget_tokens = self._budget_tokens(priority, begins_s, now_s)
                batch = self._queue.take(priority, budget_tokens)
                if priority is Priority.INTERACTIVE and self._running.free_lanes <= 1:
                    self._fill_up(batch, begins_s)  # no lane is left for bulk work
                return self._running.enter(batch)
        return None

    def take_urgent(self, now_s: float) -> Batch | None:
        """Interactive work that goes beside the lanes, and counts as running from now on."""
        while self.may_take_urgent:
            if not self._shed(Priority.INTERACTIVE, now_s, now_s):
                batch = self._queue.take(Priority.INTERACTIVE, self._sizing.urgent_tokens)
                self._fill_up(batch, now_s)
                return self._running.enter(batch, urgent=True)
        return None

    def finish(self, batch: Batch, passes: Iterable[ForwardPass], now_s: float) -> None:
        """Give each text its answer or error."""
        is_urgent = batch is self._running.urgent
        self._running.leave(batch)
        rows = iter(batch.rows)
        for done in passes:
            its_rows = [next(rows) for _ in range(done.texts)]
            for row in its_rows:
                self._suspicion.survived(row[0].key)
            if isinstance(done.logits, Exception):
                self.end([text for row in its_rows for text in row], done.logits)
                continue
            inference_s = done.logits.inference_s
            self._admission.computed(done.texts, done.tokens)
            answer = Answer(done.logits, now_s - inference_s, done.texts, done.tokens)
            for number, row in enumerate(its_rows):
                self._cache.put(row[0].key, answer, number)
                for text in row[1:]:
                    text.cached = True
                self._answer(row, answer, number)
            if inference_s:
                tokens = done.tokens * self._running.lanes
                if is_urgent:
                    self._admission.measured_beside(tokens)
                else:
                    self._admission.measured(tokens, inference_s)

    def run_again(self, batch: Batch, *, has_died: bool) -> None:
        """Let the texts of a batch that came to nothing wait once more.

        Where the process of the model died while it held them, any of them may be why: each runs
        alone from now on, and is never run again when that happens twice.
        """
        self._running.leave(batch)
        for row in batch.rows:
            if has_died:
                deaths = 1 + max(text.deaths for text in row)
                for text in row:
                    text.deaths = deaths
                self._suspicion.died(row[0].key, deaths)
                if deaths >= MAX_DEATHS:
                    self.end(row, poison_input())
            for text in row:
                if not text.ended:
                    self._events.retried += 1
                    self._queue.add(text)

    def _answer(self, row: Iterable[Pending], answer: Answer, number: int) -> None:
        for text in row:
            if not text.ended:
                text.row, text.answer = number, answer
                self.ended.append(text)

    def _is_known(self, key: Key) -> bool:
        """Whether a text with this key needs no computation of its own."""
        return (
            self._running.row(key) is not None
            or self._queue.holds(key)
            or self._suspicion.is_poison(key)
            or self._cache.get(key) is not None
        )

    def _begins_s(self, now_s: float) -> float:
        """When a batch that is taken now begins: one that is sent ahead waits for a lane."""
        running = self._running
        if running.free_lanes:
            return now_s
        return now_s + self._admission.lane_s(running.shortest_tokens, Priority.BULK)

    def _shed(self, priority: Priority, begins_s: float, now_s: float) -> bool:
        """Refuse the text that is next if it is a call's, and late even if it goes at once."""
        first = self._queue.first(priority)
        is_last = len(self._queue) == 1 and not self._running
        if first is None or first.flow is not None or is_last:
            return False
        if begins_s + self._admission.lane_s(first.tokens, priority) <= first.deadline_s:
            return False
        queue_tokens = self._queue.tokens
        self.end([first], self._admission.refuse(first.tokens, queue_tokens, now_s, TOO_LATE))
        return True

    def _fill_up(self, batch: Batch, begins_s: float) -> None:
        """Let bulk work go along: a pass over few tokens costs nearly as much as a filled one."""
        waited_s = begins_s - min(row[0].queued_s for row in batch.rows)
        slack_s = batch.rows[0][0].deadline_s - begins_s
        enough_tokens, most_tokens = self._sizing.fill_tokens(waited_s, slack_s)
        self._queue.fill_up(batch, enough_tokens, most_tokens)

    def _budget_tokens(self, priority: Priority, begins_s: float, now_s: float) -> int:
        first = self._queue.first(priority)
        share_tokens = math.ceil(self._queue.tokens_of(priority) / max(1, self._running.free_lanes))
        slack_s = first.deadline_s - begins_s if first else math.inf
        return self._sizing.budget_tokens(priority, share_tokens, slack_s, now_s)
