"""Between callers and one engine: a queue, and the threads that empty it."""

import logging
import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from queue import SimpleQueue

from classwire._reasons import Reason

from .engine import Engine
from .errors import RequestError
from .scheduling import Answer, Pending, Queue, tokens_of

log = logging.getLogger(__name__)

SHARE_TOKENS = 128
"""Work is shared among idle lanes down to this: a pass over fewer tokens costs as much, since it
waits for the weights to come from memory.
"""
MAX_AHEAD_S = 0.05
"""A batch is sent ahead if it starts within this: what comes after can't overtake it any more."""
CLOSE_PATIENCE_S = 5.0
"""How long batches in flight, for which no caller waits any more, may take at the end."""


class Dispatcher:
    """Feeds one engine. Work waits only while the engine is busy; there is no linger timer.

    One batch more than the engine has lanes may be in it: it lies ready, and starts the moment a
    lane is free. All methods may be called by any thread. Every submitted text ends: with an
    answer, or with an error, which is CancelledError where it was withdrawn.
    """

    def __init__(
        self, engine: Engine, *, batch_tokens: int, max_queue_tokens: int, name: str
    ) -> None:
        self._engine = engine
        self._batch_tokens = batch_tokens
        self._queue = Queue(max_queue_tokens)
        self._running: list[int] = []  # tokens of each batch in the engine
        self._closed = False
        self._lock = threading.Lock()  # guards _queue, _running and _closed
        self._work = threading.Condition(self._lock)  # a batch may be taken
        self._room = threading.Condition(self._lock)  # texts have left the queue
        self._deadline = threading.Condition(self._lock)  # the earliest deadline is another
        targets = {f"engine-{name}-{n}": self._run for n in range(engine.lanes + 1)}
        targets[f"expiry-{name}"] = self._watch_deadlines
        self._threads = [
            threading.Thread(target=target, name=thread, daemon=True)
            for thread, target in targets.items()
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, texts: Sequence[Pending]) -> None:
        """Let texts wait for the engine: all of them or none.

        Raises RequestError OVERLOADED, with the time that the queue needs to drain, when it is
        full.
        """
        with self._lock:
            if self._closed:
                raise _draining()
            if not self._queue.has_room(tokens_of(texts), texts[0].priority):
                raise RequestError(
                    Reason.OVERLOADED,
                    "the queue is full",
                    metadata={"queue_tokens": str(self._queue.tokens)},
                    retry_after_s=max(0.001, self._queue.drain_s()),
                )
            self._add(texts)

    def submit_when_room(self, texts: Sequence[Pending], given_up: Callable[[], bool]) -> None:
        """Let texts, all of one deadline, wait for the engine, each as soon as there is room.

        Those whose deadline passes before there is room, or whose dispatcher closes, end with that
        error. They are cancelled when given_up comes true: whoever makes it true calls `withdraw`
        afterwards.
        """
        left = deque(texts)
        with self._lock:
            while not self._closed and not given_up():
                self._add(self._fitting(left))
                remaining_s = left[0].deadline_s - time.monotonic() if left else 0.0
                if remaining_s <= 0:
                    break
                self._room.wait(min(remaining_s, threading.TIMEOUT_MAX))
            closed = self._closed
        if given_up():
            _end(left, CancelledError())
        else:
            _end(left, _draining() if closed else _expired())

    def _fitting(self, texts: deque[Pending]) -> Iterator[Pending]:
        """Take texts from the front while the queue, to which each is added, has room."""
        while texts and self._queue.has_room(texts[0].tokens, texts[0].priority):
            yield texts.popleft()

    def withdraw(self, texts: Sequence[Pending]) -> None:
        """Cancel texts whose caller has gone; those already in the engine run to their end."""
        with self._lock:
            withdrawn = [pending for pending in texts if self._queue.remove(pending)]
            self._room.notify_all()
        _end(withdrawn, CancelledError())

    def close(self) -> None:
        """Refuse what still waits as DRAINING, let what is in flight finish, free the engine.

        An engine that does not finish is ended all the same.
        """
        with self._lock:
            self._closed = True
            waiting = self._queue.take(1 << 62)
            for condition in (self._work, self._room, self._deadline):
                condition.notify_all()
        _end(waiting, _draining())
        patience_until_s = time.monotonic() + CLOSE_PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, patience_until_s - time.monotonic()))
        self._engine.close()
        for thread in self._threads:
            thread.join()

    def _add(self, texts: Iterable[Pending]) -> None:
        now_s = time.monotonic()
        earliest_deadline_s = self._queue.earliest_deadline_s
        for pending in texts:
            self._queue.add(pending, now_s)
        if self._queue.earliest_deadline_s < earliest_deadline_s:
            self._deadline.notify()
        self._wake()

    def _watch_deadlines(self) -> None:
        with self._lock:
            while not self._closed:
                now_s = time.monotonic()
                self._expire(now_s)
                remaining_s = self._queue.earliest_deadline_s - now_s
                self._deadline.wait(min(remaining_s, threading.TIMEOUT_MAX))

    def _expire(self, now_s: float) -> None:
        expired = self._queue.expire(now_s)
        if expired:
            self._room.notify_all()
            _end(expired, _expired())

    def _run(self) -> None:
        while texts := self._next_batch():
            tokens = tokens_of(texts)
            inference_s = self._infer(texts)
            with self._lock:
                self._running.remove(tokens)
                if inference_s:
                    self._queue.drained(tokens * self._engine.lanes, inference_s)
            _deliver(texts)

    def _next_batch(self) -> list[Pending]:
        """Wait for the next batch, and count it as running; empty when the dispatcher closes."""
        with self._lock:
            while not self._closed:
                self._expire(time.monotonic())
                if self._may_take():
                    texts = self._queue.take(self._budget_tokens())
                    self._running.append(tokens_of(texts))
                    self._room.notify_all()
                    self._wake()  # another lane may be free for what is left
                    return texts
                self._work.wait()
        return []

    def _wake(self) -> None:
        """Wake a thread, if one may take a batch: a thread woken in vain costs others Python's
        lock.
        """
        if self._may_take():
            self._work.notify()

    def _may_take(self) -> bool:
        """Whether work waits that a lane is free for, or that may be sent ahead of the next one.

        Sending ahead pays when at least as much waits as runs; less is better left to grow.
        """
        lanes, queue = self._engine.lanes, self._queue
        if not len(queue) or len(self._running) != lanes:
            return len(queue) > 0 and len(self._running) < lanes
        shortest_tokens = min(self._running)
        soon = shortest_tokens * lanes <= MAX_AHEAD_S * queue.tokens_per_s
        return soon and queue.tokens >= min(shortest_tokens, self._batch_tokens)

    def _budget_tokens(self) -> int:
        """Tokens of the next batch: what waits, shared evenly among the lanes that are free."""
        free_lanes = max(1, self._engine.lanes - len(self._running))
        share = math.ceil(self._queue.tokens / free_lanes)
        return min(self._batch_tokens, max(SHARE_TOKENS, share))

    def _infer(self, texts: Sequence[Pending]) -> float:
        """Give each text its answer or error; returns the seconds on the device.

        A batch that fails is run again text by text, so that only the bad one fails.
        """
        try:
            logits = self._engine.infer([pending.encoding for pending in texts])
            if len(logits.values) != len(texts):
                raise RuntimeError(f"{len(logits.values)} rows of logits for {len(texts)} texts")
        except RequestError as error:  # it is the engine's, and no text's fault
            for pending in texts:
                pending.error = error
            return 0.0
        except Exception as error:
            if len(texts) > 1:
                log.warning("a batch of %d texts failed; running them one by one", len(texts))
                return sum(self._infer([pending]) for pending in texts)
            texts[0].error = error
            return 0.0
        began_s = time.monotonic() - logits.inference_s
        answer = Answer(logits, began_s, len(texts), tokens_of(texts))
        for row, pending in enumerate(texts):
            pending.row, pending.answer = row, answer
        return logits.inference_s


def _expired() -> RequestError:
    return RequestError(Reason.EXPIRED_IN_QUEUE, "the time limit passed before the model ran")


def _draining() -> RequestError:
    return RequestError(Reason.DRAINING, "the server is shutting down")


def _end(texts: Iterable[Pending], error: BaseException) -> None:
    """End texts with an error."""
    texts = list(texts)
    for pending in texts:
        pending.error = error
    _deliver(texts)


def _deliver(texts: Iterable[Pending]) -> None:
    """Put texts that have ended into their inboxes; may be called with the lock held."""
    by_inbox: defaultdict[SimpleQueue[list[Pending]], list[Pending]] = defaultdict(list)
    for pending in texts:
        by_inbox[pending.inbox].append(pending)
    for inbox, ended in by_inbox.items():
        inbox.put(ended)
