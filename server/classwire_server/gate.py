"""Counts calls in flight, and rejects new ones while the server drains."""

import threading
from collections.abc import Callable

from classwire.contract.reasons import Reason

from .errors import RequestError


class Gate:
    """Counts calls in flight and rejects new ones once closed. Safe for use by any thread."""

    def __init__(self) -> None:
        self._open = True
        self._in_flight = 0
        self._listeners: set[Callable[[], None]] = set()
        self._changed = threading.Condition()  # guards all of the above

    @property
    def is_open(self) -> bool:
        """Whether new calls may enter."""
        return self._open

    @property
    def in_flight(self) -> int:
        """Number of calls in flight."""
        return self._in_flight

    def enter(self) -> None:
        """Count a call as in flight. Raises RequestError DRAINING once the gate is closed."""
        with self._changed:
            if not self._open:
                raise RequestError(Reason.DRAINING, "the server is shutting down")
            self._in_flight += 1

    def leave(self) -> None:
        """Count a call that entered as over."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def listen(self, closing: Callable[[], None]) -> Callable[[], None]:
        """Call `closing` when the gate closes, or now if it is closed.

        Returns a function that removes the listener.
        """
        with self._changed:
            is_open = self._open
            self._listeners.add(closing)
        if not is_open:
            closing()
        return lambda: self._listeners.discard(closing)

    def close(self) -> None:
        """Admit no new calls, and call the listeners."""
        with self._changed:
            self._open = False
            listeners = list(self._listeners)
        for closing in listeners:
            closing()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Wait until no call is in flight; False if that takes longer than `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._in_flight, timeout_s)
