"""What `wait_until_ready` waits for, and what it says when it waited in vain."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from . import _calls
from ._retry import Deadline
from .errors import ClasswireError, DeadlineExceededError, UnavailableError

RETRY_PAUSE_S = 0.25
"""Between two watches, when a server that was reached ends the first at once."""


class Readiness:
    """What was last heard from a server while waiting for it."""

    def __init__(self, target: str, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._last = "nobody answers there"

    def heard(self, response: health_pb2.HealthCheckResponse) -> bool:
        """Take a health response; whether the server is ready."""
        status = _calls.serving_status(response)
        self._last = f"it says {status}"
        return status == "SERVING"

    def failed(self, error: ClasswireError) -> None:
        """Take the end of a watch; raise when waiting longer is no use, or the time is over."""
        if isinstance(error, DeadlineExceededError) or self._deadline.left_s() == 0:
            raise self.timed_out() from error
        if not isinstance(error, UnavailableError):
            raise error
        self._last = str(error)

    def pause_s(self) -> float:
        """How long to wait before the next watch."""
        left_s = self._deadline.left_s()
        return RETRY_PAUSE_S if left_s is None else min(RETRY_PAUSE_S, left_s)

    def timed_out(self) -> ClasswireError:
        """The error to raise when the time is over."""
        return DeadlineExceededError(
            f"{self._target} was not ready within {self._deadline.timeout_s:g} s: {self._last}"
        )
