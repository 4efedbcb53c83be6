"""The settings and state that `Client` and `AsyncClient` share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc

from classwire._calls import requests
from classwire._calls.retry import Contact, Deadline, Retry, is_timeout
from classwire._calls.status import from_rpc_error
from classwire._calls.steps import Actions, Steps, retried
from classwire.errors import (
    CancelledError,
    ClasswireError,
    InternalError,
    UnavailableError,
    UnusableClientError,
)
from classwire.results import ModelLimits

from . import channel
from .credentials import Credentials
from .diagnosis import Route, explained
from .metadata import Metadata, Pairs, pairs_of
from .proxy import proxy_of

R = TypeVar("R")

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 30.0
_RESET = "RST_STREAM"
"""In gRPC's message for a call that the other side reset without a status."""
_FAILED_WRITE = "Internal error from Core"
"""grpc.aio's message, in place of the status, for a write to a call that has just ended."""


class Session:
    """The settings and state of a client. Thread-safe: every change is one step."""

    def __init__(
        self,
        target: channel.Target,
        timeout_s: float,
        metadata: Metadata | None,
        retry: bool,
        credentials: Credentials,
        options: channel.ChannelOptions = (),
    ) -> None:
        self.target = channel.target_uri(target)
        credentials.check(self.target)
        self.credentials = credentials
        self.options = channel.channel_options(
            [*credentials.options, *options], target=self.target, retry=retry
        )
        self.limits: dict[str, ModelLimits] = {}
        self._timeout_s = timeout_s
        self._metadata = pairs_of(metadata)
        self._retry = retry
        self._route = Route(self.target, credentials, proxy_of(self.target, self.options))
        self._contact = Contact()
        self._pid = os.getpid()
        self._closed = False
        self._told_of_close: set[Callable[[], None]] = set()
        requests.seconds(timeout_s, "timeout_s")

    def close(self) -> bool:
        """Mark as closed; return whether there is a channel of this process to close."""
        was_open, self._closed = not self._closed, True
        if not was_open or self.is_forked:
            return False
        for told in tuple(self._told_of_close):
            told()
        return True

    @contextlib.contextmanager
    def told_of_close(self, told: Callable[[], None]) -> Iterator[None]:
        """While inside, closing the client calls `told`, on the thread that closes it."""
        self._told_of_close.add(told)
        try:
            if self._closed:
                told()
            yield
        finally:
            self._told_of_close.discard(told)

    def pause(self, seconds: float) -> None:
        """Block this thread; raise UnusableClientError as soon as the client is closed."""
        closed = threading.Event()
        with self.told_of_close(closed.set):
            closed.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise UnusableClientError if the client cannot make a call."""
        if self._closed:
            raise UnusableClientError("the client is closed")
        self.check_process()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a fork of the one that made the client."""
        return self._pid != os.getpid()

    def check_process(self) -> None:
        """Raise UnusableClientError in a forked process."""
        if self.is_forked:
            raise UnusableClientError(
                f"the client was made in process {self._pid} and gRPC does not survive a fork: "
                f"make a new one in process {os.getpid()}"
            )

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Turn the errors of a call on a sync channel, and of its responses, into ClasswireErrors.

        Raises UnusableClientError if the channel is closed.
        """
        self.check()
        try:
            yield
        except grpc.RpcError as error:
            raise self.failure(error) from error
        except ValueError:  # gRPC's error for a channel that was closed just now
            self.check()
            raise
        self._contact.is_made = True

    @contextlib.contextmanager
    def calling_async(self) -> Iterator[None]:
        """As `calling`, for a channel of grpc.aio."""
        self.check()
        try:
            yield
        except grpc.RpcError as error:
            raise self.failure(error) from error
        except asyncio.CancelledError:
            # grpc.aio also raises it for a call that ended as CANCELLED.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._contact.is_made = True
            raise self.cancellation() from None
        self._contact.is_made = True

    def failure(self, error: grpc.RpcError) -> ClasswireError:
        """The error of a call. One that only a server can give makes the first contact."""
        failure = from_rpc_error(error)
        if failure.message == _FAILED_WRITE:
            return UnavailableError("the call ended while a message was on its way")
        if not failure.reason and isinstance(failure, UnavailableError):
            return explained(failure, self._route)
        self._contact.is_made |= not is_timeout(failure)
        if isinstance(failure, CancelledError):
            return self.cancellation()
        if failure.reason:
            return failure
        if type(failure) is InternalError and _RESET in failure.message:
            # A proxy that loses its server in the middle of a response can only reset the call.
            return UnavailableError(f"the connection was cut: {failure.message}")
        return explained(failure, self._route)

    def cancellation(self) -> ClasswireError:
        """The error of a call that was cancelled, but not by its caller."""
        if self._closed:
            return CancelledError("the client was closed")
        return UnavailableError("the call was cancelled from the server's side")

    def deadline(self, timeout_s: float | None) -> Deadline:
        """The deadline of a call that starts now."""
        return Deadline(self.seconds(timeout_s))

    def retry(self) -> Retry:
        """The retries of an operation that starts now."""
        return Retry(self._retry, contact=self._contact)

    def retried(self, steps: Steps[R], deadline: Deadline) -> Actions[R]:
        """The calls and pauses of an operation, retries included."""
        return retried(steps, self.retry(), deadline)

    def metadata(self, of_call: Pairs) -> Pairs:
        """The client's metadata, then the call's, then its credentials."""
        return (*self._metadata, *of_call, *self.credentials.metadata())

    def __repr__(self) -> str:
        state = "open"
        if self._closed:
            state = "closed"
        elif self.is_forked:
            state = f"of process {self._pid}"
        return f"({self.target!r}, {state})"

    def seconds(self, timeout_s: float | None) -> float | None:
        """The timeout of a call: its own or the client's; None for no limit."""
        return requests.seconds(self._timeout_s if timeout_s is None else timeout_s, "timeout_s")
