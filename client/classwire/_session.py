"""What `Client` and `AsyncClient` share: settings, defaults, whether they may be used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TypeAlias, TypeVar

import grpc

from . import _channel, _requests
from ._credentials import Credentials
from ._retry import Deadline, Retry
from ._status import from_rpc_error
from ._steps import Doings, Steps, retried
from .errors import (
    CancelledError,
    ClasswireError,
    InternalError,
    UnavailableError,
    UnusableClientError,
)
from .results import ModelLimits
from .tls import explained

Metadata: TypeAlias = _requests.Metadata
R = TypeVar("R")

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 30.0
_RESET = "RST_STREAM"
"""In gRPC's words for a call that the other side ended without a status."""
_FAILED_WRITE = "Internal error from Core"
"""What grpc.aio says in place of the status when a message meets a call that has just ended."""


class Session:
    """The settings of a client. Any thread may use it: what changes is changed in one step."""

    def __init__(
        self,
        target: _channel.Target,
        timeout_s: float,
        metadata: Metadata | None,
        retry: bool,
        credentials: Credentials,
    ) -> None:
        self.target = _channel.target_uri(target)
        credentials.check(self.target)
        self.credentials = credentials
        self.limits: dict[str, ModelLimits] = {}
        self._timeout_s = timeout_s
        self._metadata = _requests.metadata(metadata)
        self._retry = retry
        self._pid = os.getpid()
        self._closed = False
        self._told_of_close: set[Callable[[], None]] = set()
        _requests.seconds(timeout_s, "timeout_s")

    def close(self) -> bool:
        """Mark as closed; whether there is a channel of this process to close."""
        was_open, self._closed = not self._closed, True
        if not was_open or self._pid != os.getpid():
            return False
        for told in tuple(self._told_of_close):
            told()
        return True

    @contextlib.contextmanager
    def told_of_close(self, told: Callable[[], None]) -> Iterator[None]:
        """Inside, `told` is called once the client is closed, by whoever closes it."""
        self._told_of_close.add(told)
        try:
            if self._closed:
                told()
            yield
        finally:
            self._told_of_close.discard(told)

    def pause(self, seconds: float) -> None:
        """Wait on this thread; UnusableClientError as soon as the client is closed."""
        closed = threading.Event()
        with self.told_of_close(closed.set):
            closed.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise UnusableClientError when no call can be made."""
        if self._closed:
            raise UnusableClientError("the client is closed")
        if self._pid != os.getpid():
            raise UnusableClientError(
                f"the client was made in process {self._pid} and gRPC does not survive a fork: "
                f"make a new one in process {os.getpid()}"
            )

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Around a call on a plain channel, and what reads its responses: errors are ours.

        UnusableClientError where the channel is closed already.
        """
        self.check()
        try:
            yield
        except grpc.RpcError as error:
            raise self.failure(error) from error
        except ValueError:  # gRPC's own word, when the channel was closed just now
            self.check()
            raise

    @contextlib.contextmanager
    def calling_async(self) -> Iterator[None]:
        """Around a call on a channel of grpc.aio, and what reads its responses: as `calling`."""
        self.check()
        try:
            yield
        except grpc.RpcError as error:
            failure = self.failure(error)
            if failure.message == _FAILED_WRITE:
                failure = UnavailableError("the call ended while a message was on its way")
            raise failure from error
        except asyncio.CancelledError:
            # How grpc.aio tells of that status too.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self.cancellation() from None

    def failure(self, error: grpc.RpcError) -> ClasswireError:
        """The error of a call."""
        failure = from_rpc_error(error)
        if isinstance(failure, CancelledError):
            return self.cancellation()
        if type(failure) is InternalError and not failure.reason and _RESET in failure.message:
            # A proxy that loses its server can only reset the answer it is in the middle of.
            return UnavailableError(f"cut off on the way: {failure.message}")
        if isinstance(failure, UnavailableError) and not failure.reason:
            message = explained(failure.message, is_tls=self.credentials.channel is not None)
            return UnavailableError(message)
        return failure

    def cancellation(self) -> ClasswireError:
        """The error of a call that was cancelled, and not by its caller."""
        if self._closed:
            return CancelledError("the client was closed")
        return UnavailableError("the call was cancelled from the server's side")

    def deadline(self, timeout_s: float | None) -> Deadline:
        """The deadline of a call that starts now."""
        return Deadline(self.seconds(timeout_s))

    def retry(self) -> Retry:
        """The retries of an operation that starts now."""
        return Retry(self._retry)

    def retried(self, steps: Steps[R], deadline: Deadline) -> Doings[R]:
        """What to do for an operation."""
        return retried(steps, self.retry(), deadline)

    def metadata(self, of_call: _requests.Pairs) -> _requests.Pairs:
        """The client's metadata, then the call's, then its credentials."""
        return (*self._metadata, *of_call, *self.credentials.metadata())

    def __repr__(self) -> str:
        state = "open"
        if self._closed:
            state = "closed"
        elif self._pid != os.getpid():
            state = f"of process {self._pid}"
        return f"({self.target!r}, {state})"

    def seconds(self, timeout_s: float | None) -> float | None:
        """How long a call may take: the client's time unless it has one; None for no limit."""
        return _requests.seconds(self._timeout_s if timeout_s is None else timeout_s, "timeout_s")
