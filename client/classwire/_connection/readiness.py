"""The state of `wait_until_ready`: the server's last answer, and the error at the deadline."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from classwire._calls import unary
from classwire._calls.retry import Deadline
from classwire.errors import ClasswireError, DeadlineExceededError, UnavailableError

RETRY_PAUSE_S = 0.25
"""Pause between two watches, for a server that ends a watch at once."""


class Readiness:
    """The last answer of a server while the client waits for it."""

    def __init__(self, target: str, deadline: Deadline) -> None:
        self._target = target
        self._deadline = deadline
        self._last = "no server answers"

    def heard(self, response: health_pb2.HealthCheckResponse) -> bool:
        """Take a health response; return whether the server is ready."""
        status = unary.serving_status(response)
        self._last = f"it is {status}"
        return status == "SERVING"

    def failed(self, error: ClasswireError) -> None:
        """Take the error of a watch; raise it if it is not retryable, or if the time is over."""
        if isinstance(error, DeadlineExceededError) or self._deadline.left_s() == 0:
            raise self.timed_out() from error
        if not isinstance(error, UnavailableError):
            raise error
        self._last = error.message

    def pause_s(self) -> float:
        """Seconds to wait before the next watch."""
        left_s = self._deadline.left_s()
        return RETRY_PAUSE_S if left_s is None else min(RETRY_PAUSE_S, left_s)

    def timed_out(self) -> ClasswireError:
        """The error for the end of the time."""
        return DeadlineExceededError(
            f"{self._target} was not ready within {self._deadline.timeout_s:g} s: {self._last}"
        )
