"""The life of a text: admission, queue, batch, answer or error.

Pure: no threads, no torch, no transport. The clock is passed in as `now_s`, in seconds of any
monotonic clock.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from itertools import chain, islice

from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import (
    RequestError,
    draining,
    expired_in_queue,
    poison_input,
    worker_lost,
)

from .admission import TOO_LATE, Admission
from .backlog import Backlog, Events
from .batch import Answer, Batch, Key, Pending, Priority, distinct
from .batch_sizing import BatchSizing
from .batching import Batching
from .execution import ForwardPass
from .in_flight import InFlight
from .poison import PoisonInputs, PoisonTracker
from .request_queue import RequestQueue
from .result_cache import ResultCache


@dataclass(frozen=True)
class Bounds:
    """What the scheduler of one engine may hold: tokens in its queue, bytes in its cache, and a
    poison text for `poison_expiry_s`.
    """

    max_queue_tokens: int
    cache_bytes: int = 0
    poison_expiry_s: float = 600.0


class Scheduler:
    """Leads the texts of one engine from admission to their answer or error.

    Texts that have ended stay in `ended` until its owner delivers them. Not safe for use by several
    threads: its owner holds a lock around each call.
    """

    def __init__(
        self,
        *,
        lanes: int,
        batch_tokens: int,
        profile: LatencyProfile,
        bounds: Bounds,
    ) -> None:
        self.ended: list[Pending] = []
        self._events = Events()
        self._queue = RequestQueue(bounds.max_queue_tokens)
        self._in_flight = InFlight(lanes)
        self._admission = Admission(lanes, batch_tokens, profile)
        self._batch_sizing = BatchSizing(batch_tokens, profile, self._admission)
        self._cache = ResultCache(bounds.cache_bytes)
        self._poison = PoisonTracker(bounds.poison_expiry_s)
        self._batching = Batching(
            self._queue, self._in_flight, self._admission, self._batch_sizing, self.end
        )

    @property
    def waiting_texts(self) -> int:
        """Number of queued texts."""
        return len(self._queue)

    def backlog(self) -> Backlog:
        """A snapshot of the pending work."""
        queue, in_flight = self._queue, self._in_flight
        return Backlog(
            queue.texts(),
            {priority: queue.tokens_of(priority) for priority in Priority},
            min(len(in_flight.batches), in_flight.lanes),
            self._admission.tokens_per_s,
            len(self._cache),
            self._cache.bytes,
            replace(self._events),
        )

    @property
    def earliest_deadline_s(self) -> float:
        """The earliest deadline of a queued text, math.inf for none."""
        return self._queue.earliest_deadline_s

    def admit(self, texts: Sequence[Pending], now_s: float) -> None:
        """Check that a call's texts, all of one priority and deadline, can be answered in time.

        A large call gets the priority LARGE. An idle engine admits any call, so that none is too
        large to be served. Texts that are late already are admitted, to expire. Raises RequestError
        OVERLOADED.
        """
        queue = self._queue
        self._poison.expire(now_s)
        self._admission.called(len(texts), sum(text.tokens for text in texts))
        new = [text for text in distinct(texts) if not self._is_known(text.key)]
        if self._batch_sizing.is_large(new):
            for text in texts:
                text.priority = Priority.LARGE
        if not new or new[0].deadline_s <= now_s or not (len(queue) or self._in_flight):
            return
        priority, deadline_s = new[0].priority, new[0].deadline_s
        sizes_tokens = [text.tokens for text in new]
        tokens = sum(sizes_tokens)
        if queue.is_full(tokens, priority):
            raise self._admission.reject(tokens, queue.tokens, now_s, "the queue is full")
        if now_s + self._finish_s(priority, sizes_tokens, deadline_s) > deadline_s:
            raise self._admission.reject(tokens, queue.tokens, now_s, TOO_LATE)

    def least_s(self, deadline_s: float) -> float:
        """The least time in which a new text with this deadline could be answered, in seconds: the
        time that `admit` requires for a text of one token. 0 if the engine is idle or the cache,
        which may know the answer, is enabled.
        """
        if self._cache.is_enabled or not (len(self._queue) or self._in_flight):
            return 0.0
        return self._finish_s(Priority.INTERACTIVE, [1], deadline_s)

    def reject(self, now_s: float) -> RequestError:
        """Count a call that was rejected before it was read, as one text of the mean size."""
        return self._admission.reject(
            self._admission.text_tokens, self._queue.tokens, now_s, TOO_LATE
        )

    def has_room(self, text: Pending) -> bool:
        """Whether a text of a stream may enter the queue."""
        return self._queue.has_room(text) or self._is_known(text.key)

    def add(self, texts: Iterable[Pending], now_s: float) -> None:
        """Queue texts. Texts with a known answer end at once, and texts with a row in flight join
        it.
        """
        self._poison.expire(now_s)
        for text in texts:
            self._batch_sizing.arrived(text.priority, now_s)
            text.queued_s = now_s
            text.is_suspect = self._poison.is_suspect(text.key)
            if answer := self._cache.get(text.key):
                text.cached = True
                self._events.cached += 1
                self._answer([text], answer, 0)
            elif self._poison.is_poison(text.key):
                self.end([text], poison_input())
            elif (row := self._in_flight.row(text.key)) is not None:
                self._events.coalesced += 1
                row.append(text)
            else:
                self._events.coalesced += self._queue.holds(text.key)
                self._queue.add(text)

    def end(self, texts: Iterable[Pending], error: BaseException) -> None:
        """End texts with an error, queued or in flight; ended ones stay as they are."""
        for text in texts:
            self._queue.remove(text)
            if not text.ended:
                self._events.cancelled += isinstance(error, CancelledError)
                text.error = error
                self.ended.append(text)

    def withdraw(self, texts: Iterable[Pending]) -> None:
        """End texts whose caller has gone; batches in flight finish without them."""
        self.end(texts, CancelledError())

    def expire(self, now_s: float) -> None:
        """End all queued texts whose deadline has passed."""
        for text in self._queue.expire(now_s):
            self._events.expired += 1
            self.end([text], worker_lost() if text.is_suspect else expired_in_queue())

    def close(self) -> None:
        """End all queued texts as DRAINING."""
        self.end(self._queue.take_all(), draining())

    @property
    def may_take(self) -> bool:
        """Whether `take` may return a batch."""
        return self._batching.may_take

    @property
    def may_take_urgent(self) -> bool:
        """Whether `take_urgent` may return a batch."""
        return self._batching.may_take_urgent

    def take(self, now_s: float) -> Batch | None:
        """Take the next batch for a lane; it counts as in flight."""
        batch = self._batching.take(now_s)
        if batch is not None:
            batch.is_last_trial = self._poison.is_last_trial(batch.rows[0][0].key)
        return batch

    def take_urgent(self, now_s: float) -> Batch | None:
        """Take an interactive batch that needs no lane; it counts as in flight."""
        return self._batching.take_urgent(now_s)

    def finish(self, batch: Batch, passes: Iterable[ForwardPass], now_s: float) -> None:
        """Give each text of a batch its answer or error."""
        self._in_flight.leave(batch)
        rows = iter(batch.rows)
        for done in passes:
            self._finish_pass(done, list(islice(rows, done.texts)), now_s)
            self._measure(done, is_urgent=batch.is_urgent)

    def lost(self, batch: Batch, now_s: float, *, is_alone: bool) -> None:
        """Queue the texts of a batch again: the model's process ended while it computed them.

        Any of them may be the cause, so each runs alone from now on. The only text of a batch that
        the process held alone counts the death, and may end as POISON_INPUT.
        """
        for row in batch.rows:
            key = row[0].key
            self._poison.died(key, now_s, is_alone=is_alone and len(batch.rows) == 1)
            for text in row:
                text.is_suspect = True
            if self._poison.is_poison(key):
                self.end(row, poison_input())
        self.run_again(batch)

    def never_begun(self, batch: Batch) -> None:
        """Queue the texts of a batch again: the model's process ended before it began them.

        So something else ends processes, and a suspect's earlier deaths no longer count.
        """
        for row in batch.rows:
            self._poison.doubt(row[0].key)
        self.run_again(batch)

    def run_again(self, batch: Batch) -> None:
        """Queue the texts of a batch again that have no answer or error."""
        self._in_flight.leave(batch)
        for row in batch.rows:
            for text in row:
                if not text.ended:
                    self._events.retried += 1
                    self._queue.add(text)

    def poison_inputs(self, now_s: float) -> PoisonInputs:
        """The texts that are poison now."""
        self._poison.expire(now_s)
        return self._poison.inputs()

    def clear_poison(self) -> int:
        """Let poison texts run again as any other; returns their number."""
        return self._poison.clear()

    def _finish_s(
        self, priority: Priority, sizes_tokens: Sequence[int], deadline_s: float
    ) -> float:
        """How long a new call with texts of these sizes takes behind what goes before it."""
        return self._admission.finish_s(
            priority,
            sizes_tokens,
            self._in_flight.tokens_before(priority),
            self._queue.tokens_before(priority, deadline_s),
        )

    def _finish_pass(self, done: ForwardPass, rows: Sequence[list[Pending]], now_s: float) -> None:
        """End the texts of one forward pass with their answer, or its error."""
        for row in rows:
            self._poison.survived(row[0].key)
        if isinstance(done.logits, Exception):
            self.end(chain.from_iterable(rows), done.logits)
            return
        answer = Answer(done.logits, now_s - done.logits.inference_s, done.texts, done.tokens)
        for number, row in enumerate(rows):
            self._cache.put(row[0].key, answer, number)
            for text in row[1:]:
                text.cached = True
            self._answer(row, answer, number)

    def _measure(self, done: ForwardPass, *, is_urgent: bool) -> None:
        """Record the size and time of a forward pass that did not fail."""
        if isinstance(done.logits, Exception):
            return
        self._admission.computed(done.texts, done.tokens)
        if inference_s := done.logits.inference_s:
            tokens = done.tokens * self._in_flight.lanes
            if is_urgent:
                self._admission.measured_urgent(tokens)
            else:
                self._admission.measured(tokens, inference_s)

    def _answer(self, row: Iterable[Pending], answer: Answer, number: int) -> None:
        for text in row:
            if not text.ended:
                text.row, text.answer = number, answer
                self.ended.append(text)

    def _is_known(self, key: Key) -> bool:
        """Whether a text with this key needs no computation of its own."""
        return (
            self._in_flight.row(key) is not None
            or self._queue.holds(key)
            or self._poison.is_poison(key)
            or self._cache.get(key) is not None
        )
