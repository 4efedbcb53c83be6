"""Ends calls whose callers do not send their messages: they would hold a thread for ever."""

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc

from .call_record import RECORD
from .timers import Timers

CHECK_S = 1.0
"""Interval between two checks of the waiting calls. Nearly all calls are over by then."""
MIN_WAIT_S = 1.0
"""Age at which a call may make room for another. The message of a caller who has sent it is here by
then, even on an overloaded machine.
"""


@dataclass(frozen=True, slots=True)
class _Wait:
    """When a call came, and since when it waits for its message."""

    came_s: float
    since_s: float


class ReceiveTimeout:
    """Waits for the messages of calls, for `timeout_s` or up to CHECK_S longer. Thread-safe.

    `max_waiting` is below the number of threads. While more calls wait, those that have waited
    longest end, once they are MIN_WAIT_S old. So callers who send nothing can't hold all threads.
    """

    def __init__(self, timeout_s: float, max_waiting: float = math.inf) -> None:
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._waits: dict[grpc.ServicerContext, _Wait] = {}  # the longest wait first
        self._is_checked = False
        self._lock = threading.Lock()  # guards all of the above
        self._timers = Timers()

    def message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a new call. Ends the call when its caller sends none."""
        self._begin(context)
        try:
            message = next(requests, None)
        finally:
            self._end(context)
        if message is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "the call takes one message")
        return message

    def messages(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The messages of a new stream. The timeout bounds the whole stream."""
        self._begin(context)
        try:
            yield from requests
        finally:
            self._end(context)

    def _begin(self, context: grpc.ServicerContext) -> None:
        now_s = time.monotonic()
        record = RECORD.get()
        with self._lock:
            self._waits[context] = _Wait(now_s if record is None else record.began_s, now_s)
            surplus = self._surplus(now_s)
            if not self._is_checked:
                self._is_checked = True
                self._timers.set(now_s + CHECK_S, self._check)
        for each in surplus:
            each.cancel()

    def _end(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._waits.pop(context, None)

    def _surplus(self, now_s: float) -> list[grpc.ServicerContext]:
        """Remove the calls that make room for others, and return them. The caller holds the lock.

        Their age counts from when they came: what a call has sent waits with it for a thread. So
        many silent calls in the queue of the pool end one after another, without MIN_WAIT_S each.
        """
        surplus = []
        while len(self._waits) > self._max_waiting:
            context, wait = next(iter(self._waits.items()))
            if now_s - wait.came_s < MIN_WAIT_S:
                break
            del self._waits[context]
            surplus.append(context)
        return surplus

    def _check(self, now_s: float) -> float:
        """End the calls that have waited too long; returns when to check again."""
        with self._lock:
            late_s = now_s - self._timeout_s
            late = [context for context, wait in self._waits.items() if wait.since_s <= late_s]
            late += self._surplus(now_s)
            is_checked = self._is_checked = bool(self._waits)
        for context in late:
            context.cancel()
        return now_s + CHECK_S if is_checked else math.inf
