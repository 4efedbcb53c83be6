"""Callers who open a call and do not send its messages: they would hold a thread for ever."""

import math
import threading
import time
from collections.abc import Iterator

import grpc

from .alarms import Alarms

LOOK_S = 1.0
"""How often to look at calls that wait; nearly all have their message by then."""


class Reception:
    """Waits for the messages of calls, and ends calls where one does not come in time, or up to a
    second later. Safe for use by any thread.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._since_s: dict[grpc.ServicerContext, float] = {}  # of calls that wait
        self._is_watched = False
        self._lock = threading.Lock()  # guards all of the above
        self._alarms = Alarms()

    def message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a call that has just begun; the call ends where there is none."""
        self._begin(context)
        try:
            return only_message(requests, context)
        finally:
            self._end(context)

    def messages(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """The messages of a new stream; each may take so long, and then its answer."""
        self._begin(context)
        try:
            for message in requests:
                self._begin(context)
                yield message
                self._begin(context)
        finally:
            self._end(context)

    def _begin(self, context: grpc.ServicerContext) -> None:
        now_s = time.monotonic()
        with self._lock:
            self._since_s[context] = now_s
            if not self._is_watched:
                self._is_watched = True
                self._alarms.set(now_s + LOOK_S, self._look)

    def _end(self, context: grpc.ServicerContext) -> None:
        with self._lock:
            self._since_s.pop(context, None)

    def _look(self, now_s: float) -> float:
        """End the calls that have waited for too long; returns when to look again."""
        with self._lock:
            late_s = now_s - self._patience_s
            late = [context for context, since_s in self._since_s.items() if since_s <= late_s]
            is_watched = self._is_watched = bool(self._since_s)
        for context in late:
            context.cancel()
        return now_s + LOOK_S if is_watched else math.inf


def only_message(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    """The message of a call, however long it takes; the call ends where there is none."""
    message = next(requests, None)
    if message is None:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "the call takes one message")
    return message
