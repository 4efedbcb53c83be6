"""A stream, whatever its messages are: requests are read on one thread, responses are written on
another.

The reader stops at the window, so HTTP/2 slows the sender; a text leaves the window when gRPC has
sent its result, so a caller that stops reading costs a window of texts and no more, and that only
as long as a stream may be idle.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextvars import copy_context
from queue import SimpleQueue
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from classwire_server.errors import RequestError, draining
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import request_error
from classwire_server.security.authenticator import bad_credentials
from classwire_server.service.items import Item

from .lifetime import LEAST_DRAIN_S, StreamLifetime, StreamLimits

Response = TypeVar("Response", bound=Message)


class StreamSession(ABC, Generic[Response]):
    """The state of one stream.

    `responses` and `_write` run on the RPC's thread, `_read` on a thread of the session's own,
    `drain` and `check` on any. `read_items` and `sent_items` count texts.
    """

    def __init__(self, requests: Iterator[bytes], call: Call, limits: StreamLimits) -> None:
        self._requests = requests
        self._call = call
        self._inbox: SimpleQueue[list[Item]] = SimpleQueue()  # an empty list wakes the writer
        self._changed = threading.Condition()  # guards all below, and what subclasses keep
        self.read_items = 0
        self.sent_items = 0
        self._in_window = 0  # texts that were read and whose results gRPC has not sent
        self._reading = True
        self._over = False
        self._failure: RequestError | None = None
        self._lifetime = StreamLifetime(limits, call.received_s)

    def drain(self) -> None:
        """Read no more; answer what was read, then end with UNAVAILABLE/DRAINING."""
        self._stop_reading(draining())

    def check(self, now_s: float) -> float:
        """End the stream if it is idle or old, or its caller may not call any more; returns the
        instant at which to look again.
        """
        principal = self._call.principal
        if principal.is_over():
            self._stop_reading(bad_credentials())
        with self._changed:
            answered = not self._in_window
            failure = self._lifetime.why_end(now_s, answered=answered)
            must_be_cut = self._lifetime.must_be_cut(now_s)
            next_s = self._lifetime.next_s(now_s, answered=answered)
        if failure is not None:
            self._stop_reading(failure)
        if must_be_cut:
            self._cut()
            return now_s + LEAST_DRAIN_S
        return min(next_s, now_s + principal.look_s)

    def responses(self) -> Iterator[Response]:
        """All responses of the stream. Raises RequestError when it ends with an error."""
        self._call.when_over(self._abandon)
        reader = threading.Thread(
            target=copy_context().run, args=(self._run_reader,), name="stream-reader", daemon=True
        )
        reader.start()
        yield from self._write()
        if self._failure is not None:
            raise self._failure

    @abstractmethod
    def _read(self) -> None:
        """Read until the caller half-closes, or nothing may be read any more.

        Raises what the stream is to end with.
        """

    @abstractmethod
    def _write(self) -> Iterator[Response]:
        """All responses, until nothing is read any more and all that was read is answered."""

    @abstractmethod
    def _withdraw(self) -> None:
        """Take what still waits out of the queue: nobody waits for it."""

    def _run_reader(self) -> None:
        failure = None
        try:
            self._read()
        except grpc.RpcError:  # how grpcio ends the iterator of a call that was cancelled
            pass
        except Exception as error:
            failure = request_error(error)
        self._stop_reading(failure)

    def _wait_for_window(self, window_items: int) -> bool:
        """Wait until the next message may be read: there is room in the window, and the caller is
        within its rate. False when none may be read any more.
        """
        rate_s = self._call.caller.rate.wait_s(time.monotonic())
        with self._changed:
            self._changed.wait_for(lambda: not self._reading, rate_s)
            self._changed.wait_for(lambda: self._in_window < window_items or not self._reading)
            return self._reading

    def _enter_window(self, items: int) -> None:
        """Count texts as read; called with `_changed` held."""
        self.read_items += items
        self._in_window += items

    def _sent(self, response: Response, items: int = 0) -> Iterator[Response]:
        """Give gRPC a response of so many items, which leave the window once it is sent."""
        with self._changed:
            self._lifetime.sending(time.monotonic())
        yield response
        with self._changed:
            self._lifetime.sent(time.monotonic())
            self._in_window -= items
            self.sent_items += items
            self._changed.notify_all()

    def _stop_reading(self, failure: RequestError | None) -> None:
        with self._changed:
            if self._reading:
                self._reading = False
                self._failure = failure
            self._changed.notify_all()
        self._inbox.put([])

    def _cut(self) -> None:
        """End at once: with UNAVAILABLE/DRAINING, or where that can't be said any more, without."""
        with self._changed:
            said = not (self._over or self._lifetime.is_sending)
            self._failure = self._failure or draining()
        if said:
            self._abandon()
        else:
            self._call.cancel()

    def _abandon(self) -> None:
        """The call is over: wake everyone, and take what still waits out of the queue."""
        with self._changed:
            self._reading = False
            self._over = True
            self._changed.notify_all()
        self._inbox.put([])
        self._withdraw()
