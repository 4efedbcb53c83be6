"""The addresses of the servers, as a deployment of Ray Serve with one replica."""

import time
from collections.abc import Callable

EXPIRY_S = 4.0
"""Time after which a server counts as gone that did not announce itself again."""


class Directory:
    """Knows the servers that have announced themselves within the last EXPIRY_S.

    Its state is not kept: when its node is lost, Ray Serve starts another one, and the servers
    announce themselves there. For use by one thread.
    """

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._complete_s = clock_s() + EXPIRY_S
        self._announced: dict[str, tuple[str, float]] = {}
        self._withdrawn: set[str] = set()

    def announce(self, replica: str, target: str) -> None:
        """Note that a replica's server is ready."""
        if replica not in self._withdrawn:
            self._announced[replica] = target, self._clock_s()

    def withdraw(self, replica: str) -> None:
        """Forget a replica, which is about to drain."""
        self._withdrawn.add(replica)
        self._announced.pop(replica, None)

    def targets(self) -> list[str] | None:
        """The addresses of all ready servers; None while a new directory may not know all yet."""
        now_s = self._clock_s()
        if now_s < self._complete_s:
            return None
        return sorted(
            target for target, seen_s in self._announced.values() if now_s < seen_s + EXPIRY_S
        )
