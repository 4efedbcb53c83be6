"""The threads between callers and one engine: they take batches and deliver results."""

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError
from queue import SimpleQueue

from classwire_server.engine import Engine, Terms
from classwire_server.engine.latency_profile import LatencyProfile
from classwire_server.errors import (
    NoWorker,
    RequestError,
    TooLate,
    WorkerLost,
    draining,
    expired_in_queue,
    worker_lost,
)

from .backlog import Backlog
from .batch import Batch, Pending, key_of
from .execution import ForwardPass, compute
from .model_statistics import Statistics
from .poison import PoisonInputs
from .scheduler import Bounds, Scheduler

CLOSE_PATIENCE_S = 5.0
"""How long `close` waits for batches in flight."""


class Dispatcher:
    """Feeds one engine. Texts wait only while the engine is busy; there is no linger timer.

    One batch more than the engine has lanes may be in flight: it starts when a lane becomes free.
    Interactive work does not wait for batches that yield to it: it runs as an urgent batch. All
    methods may be called by any thread. Every submitted text ends with an answer or an error, which
    is CancelledError if it was withdrawn. `statistics` count forward passes and the outcomes that
    services report. `batch_tokens` is the size of a full batch, `profile` the time of
    passes by their size.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        batch_tokens: int,
        profile: LatencyProfile,
        bounds: Bounds,
        name: str,
    ) -> None:
        self.batch_tokens = batch_tokens
        self.statistics = Statistics(batch_tokens)
        self._engine = engine
        self._scheduler = Scheduler(
            lanes=engine.lanes,
            batch_tokens=batch_tokens,
            profile=profile,
            bounds=bounds,
        )
        self._closed = False
        self._checks_s = math.inf  # when `_watch_deadlines` looks at the deadlines next
        self._lock = threading.Lock()  # guards _scheduler, _closed and _checks_s
        self._work = threading.Condition(self._lock)  # a batch may be taken
        self._urgent_work = threading.Condition(self._lock)  # an urgent batch may be taken
        self._room = threading.Condition(self._lock)  # texts have left the queue
        self._deadline = threading.Condition(self._lock)  # a deadline is before _checks_s
        targets = {f"engine-{name}-{n}": self._run for n in range(engine.lanes + 1)}
        targets[f"urgent-{name}"] = self._run_urgent
        targets[f"expiry-{name}"] = self._watch_deadlines
        self._threads = [
            threading.Thread(target=target, name=thread, daemon=True)
            for thread, target in targets.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting_texts(self) -> int:
        """Number of queued texts."""
        return self._scheduler.waiting_texts

    def least_s(self, left_s: float) -> float:
        """The least time in which a new text with `left_s` left could be answered, in seconds.

        0 if the engine is idle or down.
        """
        with self._lock:
            if self._closed or not self._engine.is_up:
                return 0.0
            return self._scheduler.least_s(time.monotonic() + left_s)

    def reject(self) -> RequestError:
        """Count a call that has less time than `least_s` as rejected; returns its error."""
        with self._lock:
            return self._scheduler.reject(time.monotonic())

    def backlog(self) -> Backlog:
        """A snapshot of the pending work."""
        with self._lock:
            return self._scheduler.backlog()

    def poison_inputs(self) -> PoisonInputs:
        """The texts that are poison now."""
        with self._lock:
            return self._scheduler.poison_inputs(time.monotonic())

    def clear_poison(self) -> int:
        """Let poison texts run again as any other; returns their number."""
        with self._lock:
            return self._scheduler.clear_poison()

    def submit(self, texts: Sequence[Pending]) -> None:
        """Queue a call's texts, all of one priority and deadline, or none of them.

        Raises RequestError: OVERLOADED with a retry delay if the queue is full or the deadline
        can't be met, WORKER_LOST while the engine is down, DRAINING after `close`.
        """
        _identify(texts)
        with self._lock:
            if self._closed:
                raise draining()
            if not self._engine.is_up:
                raise worker_lost()
            self._scheduler.admit(texts, time.monotonic())
            self._add(texts)

    def submit_when_room(self, texts: Sequence[Pending], given_up: Callable[[], bool]) -> None:
        """Queue texts of a stream, all of one deadline, each as soon as there is room. Blocks.

        Texts for which there is no room before their deadline, or before `close`, end with that
        error. They are cancelled once `given_up` returns true; the caller that changes its result
        then calls `withdraw`, which wakes this method.
        """
        _identify(texts)
        left = deque(texts)
        with self._lock:
            while not self._closed and not given_up():
                while left and (left[0].ended or self._scheduler.has_room(left[0])):
                    text = left.popleft()
                    if not text.ended:  # withdrawn with another window of its text
                        self._add([text])
                remaining_s = left[0].deadline_s - time.monotonic() if left else 0.0
                if remaining_s <= 0:
                    break
                self._room.wait(min(remaining_s, threading.TIMEOUT_MAX))
            error = draining() if self._closed else expired_in_queue()
            self._scheduler.end(left, CancelledError() if given_up() else error)
            self._deliver()

    def withdraw(self, texts: Iterable[Pending]) -> None:
        """Cancel texts whose caller has gone; batches in flight finish without them."""
        with self._lock:
            self._scheduler.withdraw(texts)
            self._room.notify_all()
            self._deliver()
            self._wake()  # the next text may have another priority

    def wake(self) -> None:
        """Check again whether the engine is up."""
        with self._lock:
            self._wake()

    def close(self) -> None:
        """End queued texts as DRAINING, let batches in flight finish, and close the engine.

        Closes the engine after CLOSE_PATIENCE_S even if a batch has not finished.
        """
        with self._lock:
            self._closed = True
            self._scheduler.close()
            self._deliver()
            for condition in (self._work, self._urgent_work, self._room, self._deadline):
                condition.notify_all()
        patience_until_s = time.monotonic() + CLOSE_PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, patience_until_s - time.monotonic()))
        self._engine.close()
        for thread in self._threads:
            thread.join()

    def _add(self, texts: Iterable[Pending]) -> None:
        self._scheduler.add(texts, time.monotonic())
        self._watch_sooner()
        self._deliver()
        self._wake()

    def _watch_deadlines(self) -> None:
        with self._lock:
            while not self._closed:
                now_s = time.monotonic()
                if now_s >= self._checks_s:
                    self._expire(now_s)
                    self._checks_s = self._scheduler.earliest_deadline_s
                self._deadline.wait(min(self._checks_s - now_s, threading.TIMEOUT_MAX))

    def _watch_sooner(self) -> None:
        """Wake the thread of the deadlines only if it would look too late: it would take the GIL
        from the thread that serves the call.
        """
        if self._scheduler.earliest_deadline_s < self._checks_s:
            self._checks_s = self._scheduler.earliest_deadline_s
            self._deadline.notify()

    def _expire(self, now_s: float) -> None:
        self._scheduler.expire(now_s)
        if self._scheduler.ended:
            self._room.notify_all()
            self._deliver()
            self._wake()  # the next text may have another priority

    def _run(self) -> None:
        while batch := self._next_batch(self._scheduler.take, self._work):
            self._compute(batch)

    def _run_urgent(self) -> None:
        while batch := self._next_batch(self._scheduler.take_urgent, self._urgent_work):
            self._compute(batch)

    def _next_batch(
        self, take: Callable[[float], Batch | None], work: threading.Condition
    ) -> Batch | None:
        """Wait for the next batch, which then counts as in flight; None after `close`."""
        with self._lock:
            while not self._closed:
                now_s = time.monotonic()
                self._expire(now_s)
                batch = take(now_s) if self._engine.is_up else None
                if batch is not None or self._scheduler.ended:
                    self._room.notify_all()
                self._deliver()
                if batch is not None:
                    self._wake()  # another lane may be free
                    return batch
                work.wait()
        return None

    def _compute(self, batch: Batch) -> None:
        """Give each text of a batch its answer or error, or queue it again."""
        encodings = [row[0].encoding for row in batch.rows]
        taken_s = time.monotonic()
        yields = batch.priority.yields
        terms = Terms(batch.is_urgent, yields, batch.begin_by_s, settled=batch.is_last_trial)
        try:
            passes = compute(self._engine, encodings, terms)
        except (NoWorker, TooLate, WorkerLost) as error:
            # The trace gets the lost pass before the texts may run again, so that spans are in
            # order. A batch that came too late was no pass: its texts just keep waiting.
            if not isinstance(error, TooLate):
                _trace(batch, [ForwardPass(len(batch.rows), batch.tokens, error)], taken_s)
            with self._lock:
                if isinstance(error, TooLate) or self._closed:  # `close` ends workers itself
                    self._scheduler.run_again(batch)
                elif isinstance(error, NoWorker):
                    self._scheduler.never_begun(batch)
                else:
                    self._scheduler.lost(batch, time.monotonic(), is_alone=error.is_alone)
                if self._closed:
                    self._scheduler.close()
                self._watch_sooner()
                self._settle()
            return
        self.statistics.ran(passes)
        with self._lock:
            self._scheduler.finish(batch, passes, time.monotonic())
            self._settle()
        _trace(batch, passes, taken_s)

    def _settle(self) -> None:
        self._deliver()
        self._wake()

    def _wake(self) -> None:
        """Wake a thread if it may take a batch. A needless wake-up takes the GIL from others."""
        if self._engine.is_up:
            if self._scheduler.may_take:
                self._work.notify()
            if self._scheduler.may_take_urgent:
                self._urgent_work.notify()

    def _deliver(self) -> None:
        """Put texts that have ended into their inboxes."""
        if not self._scheduler.ended:
            return
        by_inbox: defaultdict[SimpleQueue[list[Pending]], list[Pending]] = defaultdict(list)
        for text in self._scheduler.ended:
            by_inbox[text.inbox].append(text)
            if text.trace is not None:
                text.trace.text_ended(text)
        self._scheduler.ended.clear()
        for inbox, ended in by_inbox.items():
            inbox.put(ended)


def _identify(texts: Iterable[Pending]) -> None:
    for text in texts:
        text.key = key_of(text.encoding)


def _trace(batch: Batch, passes: Sequence[ForwardPass], taken_s: float) -> None:
    traces = (text.trace for row in batch.rows for text in row if text.trace is not None)
    if (first := next(traces, None)) is not None:
        first.batch_ran(batch, passes, taken_s, time.monotonic())
