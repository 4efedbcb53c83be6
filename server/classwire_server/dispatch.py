"""Between callers and one engine: a queue, and the thread that empties it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import InvalidStateError
from contextlib import suppress

from classwire._reasons import Reason

from .engine import Engine
from .errors import RequestError
from .scheduling import Answer, Batch, Pending, Queue, tokens_of

log = logging.getLogger(__name__)


class Dispatcher:
    """Feeds one engine. Work waits only while the engine is busy; there is no linger timer.

    All methods may be called by any thread. Every future of a submitted text ends: with an Answer,
    with an exception, or cancelled.
    """

    def __init__(
        self, engine: Engine, *, batch_tokens: int, max_queue_tokens: int, name: str
    ) -> None:
        self._engine = engine
        self._batch_tokens = batch_tokens
        self._queue = Queue(max_queue_tokens)
        self._closed = False
        self._changed = threading.Condition()  # guards _queue and _closed
        self._thread = threading.Thread(target=self._run, name=f"engine-{name}", daemon=True)
        self._thread.start()

    def submit(self, texts: Sequence[Pending]) -> None:
        """Let texts wait for the engine: all of them or none.

        Raises RequestError OVERLOADED, with the time that the queue needs to drain, when it is
        full.
        """
        with self._changed:
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

    def submit_when_room(self, pending: Pending, given_up: Callable[[], bool]) -> None:
        """Wait for room, then let the text wait for the engine.

        Its future fails when its deadline passes before there is room, or the dispatcher closes; it
        is cancelled when given_up comes true: whoever makes it true calls `withdraw` afterwards.
        """
        with self._changed:
            while not self._closed and not given_up():
                if self._queue.has_room(pending.tokens, pending.priority):
                    self._add([pending])
                    return
                if not self._wait_until(pending.deadline_s):
                    break
            closed = self._closed
        if given_up():
            _cancel(pending)
        else:
            _fail([pending], _draining() if closed else _expired())

    def _wait_until(self, deadline_s: float) -> bool:
        remaining_s = deadline_s - time.monotonic()
        self._changed.wait(min(max(0.0, remaining_s), threading.TIMEOUT_MAX))
        return time.monotonic() < deadline_s

    def withdraw(self, texts: Sequence[Pending]) -> None:
        """Cancel texts whose caller has gone; those already in the engine run to their end."""
        with self._changed:
            withdrawn = [pending for pending in texts if self._queue.remove(pending)]
            self._changed.notify_all()
        for pending in withdrawn:
            _cancel(pending)

    def expire(self) -> None:
        """End all waiting texts whose deadline has passed with EXPIRED_IN_QUEUE."""
        with self._changed:
            expired = self._queue.expire(time.monotonic())
            self._changed.notify_all()
        _fail(expired, _expired())

    def close(self) -> None:
        """Refuse what still waits as DRAINING, let the batch in flight finish, free the engine."""
        with self._changed:
            self._closed = True
            batch = self._queue.take(1 << 62, time.monotonic())
            self._changed.notify_all()
        if batch:
            _fail(batch.texts, _draining())
        self._thread.join()
        self._engine.close()

    def _add(self, texts: Sequence[Pending]) -> None:
        now_s = time.monotonic()
        for pending in texts:
            self._queue.add(pending, now_s)
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not len(self._queue) and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                now_s = time.monotonic()
                expired = self._queue.expire(now_s)
                batch = self._queue.take(self._batch_tokens, now_s)
                self._changed.notify_all()
            _fail(expired, _expired())
            if batch:
                self._infer(batch)

    def _infer(self, batch: Batch) -> None:
        """Run a batch; a batch that fails is run again text by text, so that only the bad one
        fails.
        """
        texts = batch.texts
        started_s = time.monotonic()
        try:
            logits = self._engine.infer([pending.encoding for pending in texts])
            if len(logits.values) != len(texts):
                raise RuntimeError(f"{len(logits.values)} rows of logits for {len(texts)} texts")
        except Exception as error:
            if len(texts) > 1:
                log.warning("a batch of %d texts failed; running them one by one", len(texts))
                for pending in texts:
                    self._infer(Batch((pending,), batch.taken_s))
                return
            _fail(texts, error)
            return
        inference_s = time.monotonic() - started_s
        with self._changed:
            self._queue.drained(batch.tokens, inference_s)
        for pending, row in zip(texts, logits.values, strict=True):
            answer = Answer(
                row,
                logits.traits,
                queue_s=batch.taken_s - pending.queued_s,
                inference_s=logits.inference_s,
                batch_texts=len(texts),
                batch_tokens=batch.tokens,
            )
            _resolve(pending, answer)


def _expired() -> RequestError:
    return RequestError(Reason.EXPIRED_IN_QUEUE, "the time limit passed before the model ran")


def _draining() -> RequestError:
    return RequestError(Reason.DRAINING, "the server is shutting down")


def _resolve(pending: Pending, answer: Answer) -> None:
    with suppress(InvalidStateError):  # its caller has cancelled it meanwhile
        pending.future.set_result(answer)


def _cancel(pending: Pending) -> None:
    if pending.future.cancel():
        pending.future.set_running_or_notify_cancel()  # only this wakes who waits for it


def _fail(texts: Sequence[Pending], error: Exception) -> None:
    for pending in texts:
        with suppress(InvalidStateError):  # its caller has cancelled it meanwhile
            pending.future.set_exception(error)
