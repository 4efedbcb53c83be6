"""The addresses of the servers, as a deployment of Ray Serve with one replica."""

import time
from collections.abc import Callable

EXPIRY_S = 4.0
"""Time after which a server counts as gone that did not announce itself again."""
MEMORY_S = 60.0
"""How long a server that is gone is remembered. No announcement is later than this."""


class Directory:
    """Knows the servers that have announced themselves within the last EXPIRY_S.

    Its state is not kept: when its node is lost, Ray Serve starts another one, and the servers
    announce themselves there. For use by one thread.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._complete_s = clock_s() + EXPIRY_S
        self._last: dict[str, tuple[str | None, float]] = {}  # None: withdrawn

    def announce(self, replica: str, target: str) -> None:
        """Note that a replica's server is ready, unless it was withdrawn."""
        known, _ = self._last.get(replica, (target, 0.0))
        if known is not None:
            self._note(replica, target)

    def withdraw(self, replica: str) -> None:
        """Forget the address of a replica, which is about to drain."""
        self._note(replica, None)

    def targets(self) -> list[str] | None:
        """The addresses of all ready servers; None while a new directory may not know all yet."""
        now_s = self._clock_s()
        if now_s < self._complete_s:
            return None
        return sorted(
            target
            for target, seen_s in self._last.values()
            if target is not None and now_s < seen_s + EXPIRY_S
        )

    def _note(self, replica: str, target: str | None) -> None:
        now_s = self._clock_s()
        self._last[replica] = target, now_s
        for other, (_, seen_s) in list(self._last.items()):
            if now_s >= seen_s + MEMORY_S:
                del self._last[other]
