"""Counts the calls that have ended."""

import threading
import time
from collections import Counter
from collections.abc import Iterator

import grpc

from classwire_server.aggregates import Histogram
from classwire_server.rpc.call_record import CallRecord

from .definitions import CALL_SECONDS, CALLS
from .families import Family, family


class CallCounts:
    """Counts ended calls by method, code and reason. Safe for use by any thread."""

    def __init__(self) -> None:
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._seconds: dict[tuple[str, str], Histogram] = {}
        self._lock = threading.Lock()  # guards both

    def ended(self, record: CallRecord, code: grpc.StatusCode) -> None:
        """Count a call that ends now."""
        duration_s = time.monotonic() - record.began_s
        method, is_stream = record.method
        with self._lock:
            self._ended[method, code.name, record.reason] += 1
            if is_stream:
                return
            seconds = self._seconds.get((method, code.name))
            if seconds is None:
                seconds = self._seconds[method, code.name] = Histogram()
            seconds.add(duration_s)

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of calls."""
        with self._lock:
            ended = list(self._ended.items())
            seconds = [(labels, each.copy()) for labels, each in self._seconds.items()]
        yield family(CALLS, ended)
        yield family(CALL_SECONDS, seconds)
