"""Callers who open a call and do not send its messages: they would hold a thread for ever."""

import math
import threading
import time
from collections.abc import Iterator

import grpc

from .timers import Timers

LOOK_S = 1.0
"""How often to look at the calls that wait; nearly all are over by then."""


class ReceiveTimeout:
    """Waits for the messages of calls, for `timeout_s` or up to a second longer. Thread-safe.

    At most `max_waiting` calls wait, fewer than there are threads: a call above that ends the one
    that has waited longest. So callers who send nothing can't hold all threads.
    """

    def __init__(self, timeout_s: float, max_waiting: float = math.inf) -> None:
        self._timeout_s = timeout_s
        self._max_waiting = max_waiting
        self._since_s: dict[grpc.ServicerContext, float] = {}  # the longest wait first
        self._is_watched = False
        self._lock = threading.Lock()  # guards all of the above
        self._alarms = Timers()

    def message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a call that has just begun; the call ends where there is none."""
        self._begin(context)
        try:
            message = next(requests, None)
        finally:
            self._end(context)
        if message is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "the call takes one message")
        return message

    def messages(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The messages of a new stream; all of them, and their answers, have the time of one."""
        self._begin(context)
        try:
            yield from requests
        finally:
            self._end(context)

    def _begin(self, context: grpc.ServicerContext) -> None:
        now_s = time.monotonic()
        longest = None
        with self._lock:
            self._since_s[context] = now_s
            if len(self._since_s) > self._max_waiting:
                longest = next(iter(self._since_s))
                del self._since_s[longest]
            if not self._is_watched:
                self._is_watched = True
                self._alarms.set(now_s + LOOK_S, self._look)
        if longest is not None:
            longest.cancel()

    def _end(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._since_s.pop(context, None)

    def _look(self, now_s: float) -> float:
        """End the calls that have taken too long; returns when to look again."""
        with self._lock:
            late_s = now_s - self._timeout_s
            late = [context for context, since_s in self._since_s.items() if since_s <= late_s]
            is_watched = self._is_watched = bool(self._since_s)
        for context in late:
            context.cancel()
        return now_s + LOOK_S if is_watched else math.inf
