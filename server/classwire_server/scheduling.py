"""Admission, order, packing, expiry. Pure: no threads, no torch, no transport.

The clock is passed in as `now_s`, in seconds of any monotonic clock.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError

from .admission import Admission
from .computation import Pass
from .endings import draining, expired, lost, poisonous
from .pending import Answer, Batch, Key, Pending, Priority, distinct
from .result_cache import ResultCache
from .running import Running
from .waiting import Queue

SHARE_TOKENS = 128
"""Work is shared among idle lanes down to this: a pass over fewer tokens costs as much, since it
waits for the weights to come from memory.
"""
MAX_AHEAD_S = 0.05
"""A batch is sent ahead if it starts within this: what comes after can't overtake it any more."""
BULK_BATCH_S = 0.25
"""How long a bulk batch may take while there is interactive traffic."""
TRAFFIC_S = 10.0
"""How long after an interactive text there is interactive traffic."""
TOO_LATE = "the time limit can't be met"
MAX_DEATHS = 2
POISON_TEXTS = 1_024
"""So many texts that have brought the model's process down are remembered, and never run again."""


class Scheduler:
    """What goes to one engine, when, and beside what.

    Texts that have ended lie in `ended` until its owner tells those who wait for them. Not safe for
    use by several threads: its owner holds a lock around each call.
    """

    def __init__(
        self, *, lanes: int, batch_tokens: int, max_queue_tokens: int, cache_bytes: int
    ) -> None:
        self.ended: list[Pending] = []
        self._batch_tokens = batch_tokens
        self._queue = Queue(max_queue_tokens)
        self._running = Running(lanes)
        self._admission = Admission(lanes)
        self._cache = ResultCache(cache_bytes)
        self._poison: OrderedDict[Key, None] = OrderedDict()
        self._interactive_s = -math.inf  # when the last interactive text came

    @property
    def waiting_texts(self) -> int:
        """How many texts wait for the engine."""
        return len(self._queue)

    @property
    def earliest_deadline_s(self) -> float:
        """Nothing expires before this."""
        return self._queue.earliest_deadline_s

    @property
    def may_take(self) -> bool:
        """Whether work waits that a lane is free for, or that may be sent ahead of the next one.

        Sending ahead pays when at least as much waits as runs; less is better left to grow. A
        suspect waits until nothing else runs.
        """
        queue, running = self._queue, self._running
        if queue.has_suspects:
            return not running
        if running.is_alone or not len(queue):
            return False
        if len(running.batches) != running.lanes:
            return running.free_lanes > 0
        soon_s = self._admission.lane_s(running.shortest_tokens)
        return 0 < soon_s <= MAX_AHEAD_S and queue.tokens >= min(
            running.shortest_tokens, self._batch_tokens
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
            and queue.tokens_of(Priority.INTERACTIVE) > 0
        )

    def admit(self, texts: Sequence[Pending], now_s: float) -> None:
        """Check that a call's texts, all of one priority and deadline, can be answered in time.

        An idle engine takes anything, so that no call is too large ever to be served. Raises
        RequestError OVERLOADED.
        """
        new = [text for text in distinct(texts) if not self._is_known(text.key)]
        if not new or not (len(self._queue) or self._running):
            return
        admission, priority, deadline_s = self._admission, new[0].priority, new[0].deadline_s
        tokens = sum(text.tokens for text in new)
        before_tokens = self._queue.tokens_before(priority, deadline_s)
        before_tokens += self._running.tokens_before(priority)
        longest_s = admission.lane_s(max(text.tokens for text in new))
        finish_s = admission.wait_s(before_tokens) + max(longest_s, admission.wait_s(tokens))
        if self._queue.is_full(tokens, priority):
            raise admission.refuse(tokens, self._queue.tokens, now_s, "the queue is full")
        if now_s + finish_s > deadline_s:
            raise admission.refuse(tokens, self._queue.tokens, now_s, TOO_LATE)

    def has_room(self, text: Pending) -> bool:
        """Whether a text of a stream may wait."""
        return self._queue.has_room(text) or self._is_known(text.key)

    def add(self, texts: Iterable[Pending], now_s: float) -> None:
        """Let texts wait, unless their answers are known, or under way."""
        for text in texts:
            if text.priority is Priority.INTERACTIVE:
                self._interactive_s = now_s
            text.queued_s = now_s
            if answer := self._cache.get(text.key):
                text.answer, text.row, text.cached = answer, 0, True
                self.ended.append(text)
            elif text.key in self._poison:
                self.end([text], poisonous())
            elif (row := self._running.row(text.key)) is not None:
                row.append(text)
            else:
                self._queue.add(text)

    def end(self, texts: Iterable[Pending], error: BaseException) -> None:
        """End texts with an error, wherever they are; those that have ended stay as they are."""
        for text in texts:
            self._queue.remove(text)
            if not text.ended:
                text.error = error
                self.ended.append(text)

    def withdraw(self, texts: Iterable[Pending]) -> None:
        """End texts whose caller has gone; what is in the engine runs to its end without them."""
        self.end(texts, CancelledError())

    def expire(self, now_s: float) -> None:
        """End all texts whose deadline has passed."""
        for text in self._queue.expire(now_s):
            self.end([text], lost() if text.deaths else expired())

    def close(self) -> None:
        """End all that waits."""
        self.end(self._queue.take_all(), draining())

    def take(self, now_s: float) -> Batch | None:
        """The next batch for a lane, which counts as running from now on."""
        if not self.may_take:
            return None
        if self._queue.has_suspects:
            return self._running.enter(self._queue.take_suspect(), alone=True)
        while (priority := self._queue.next_priority()) is not None:
            if not self._shed(priority, now_s):
                budget_tokens = self._budget_tokens(priority, now_s)
                return self._running.enter(self._queue.take(priority, budget_tokens))
        return None

    def take_urgent(self, now_s: float) -> Batch | None:
        """Interactive work that goes beside the lanes, and counts as running from now on."""
        while self.may_take_urgent:
            if not self._shed(Priority.INTERACTIVE, now_s):
                budget_tokens = min(SHARE_TOKENS, self._batch_tokens)
                batch = self._queue.take(Priority.INTERACTIVE, budget_tokens)
                return self._running.enter(batch, urgent=True)
        return None

    def is_urgent(self, batch: Batch) -> bool:
        """Whether a batch that runs goes beside the lanes."""
        return batch is self._running.urgent

    def finish(self, batch: Batch, passes: Iterable[Pass], now_s: float) -> None:
        """Give each text its answer or error."""
        self._running.leave(batch)
        rows = iter(batch.rows)
        for done in passes:
            its_rows = [next(rows) for _ in range(done.texts)]
            if isinstance(done.logits, Exception):
                self.end([text for row in its_rows for text in row], done.logits)
                continue
            inference_s = done.logits.inference_s
            answer = Answer(done.logits, now_s - inference_s, done.texts, done.tokens)
            for number, row in enumerate(its_rows):
                self._cache.put(row[0].key, answer, number)
                for text in row[1:]:
                    text.cached = True
                self._answer(row, answer, number)
            if inference_s:
                self._admission.measured(done.tokens * self._running.lanes, inference_s)

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
                if deaths >= MAX_DEATHS:
                    self._remember_poison(row[0].key)
                    self.end(row, poisonous())
            for text in row:
                if not text.ended:
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
            or key in self._poison
            or self._cache.get(key) is not None
        )

    def _remember_poison(self, key: Key) -> None:
        self._poison[key] = None
        if len(self._poison) > POISON_TEXTS:
            self._poison.popitem(last=False)

    def _shed(self, priority: Priority, now_s: float) -> bool:
        """Refuse the text that is next if it is a call's, and late even if it goes at once."""
        first = self._queue.first(priority)
        is_last = len(self._queue) == 1 and not self._running
        if first is None or first.flow is not None or is_last:
            return False
        if now_s + self._admission.lane_s(first.tokens) <= first.deadline_s:
            return False
        queue_tokens = self._queue.tokens
        self.end([first], self._admission.refuse(first.tokens, queue_tokens, now_s, TOO_LATE))
        return True

    def _budget_tokens(self, priority: Priority, now_s: float) -> int:
        """Tokens of the next batch: what waits, shared evenly among the lanes that are free.

        Less when the first would be late otherwise, or interactive traffic kept waiting for long.
        """
        first = self._queue.first(priority)
        share = math.ceil(self._queue.tokens_of(priority) / max(1, self._running.free_lanes))
        may_take_s = (first.deadline_s - now_s) / 2 if first else math.inf
        if priority is Priority.BULK and now_s - self._interactive_s < TRAFFIC_S:
            may_take_s = min(may_take_s, BULK_BATCH_S)
        budget_tokens = min(self._batch_tokens, max(SHARE_TOKENS, share))
        return int(min(budget_tokens, self._admission.lane_tokens(may_take_s)))
