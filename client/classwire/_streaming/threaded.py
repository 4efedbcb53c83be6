"""Drives a `StreamState` with threads, for `Client`.

The caller's iterable may block, and so may the server. So one thread pulls items, gRPC's own thread
sends them, one thread makes calls and reads their results, and the caller's thread takes results.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

from classwire._connection.session import Session
from classwire.results import StreamItem, StreamResult, TextInput
from classwire.v1 import classwire_pb2 as pb

from .state import StreamState

JOIN_TIMEOUT_S = 1.0
"""How long the end of a stream waits for a source that is busy with an item."""

SIGNAL_LAG_S = 0.5
"""How long the caller's thread waits at a time. Python handles a signal (Ctrl-C) that does not
interrupt the wait, such as one that reached another thread, only after the wait.
"""

Source = Iterator[str | TextInput | StreamItem]
OpenCall = Callable[[Iterator[pb.StreamClassifyRequest], float | None], Any]
"""Makes a call from requests and a timeout in seconds; None for no limit."""


class ThreadedStream:
    """One stream, which runs as long as the generator of `outcomes`."""

    def __init__(
        self, session: Session, state: StreamState, source: Source, open_call: OpenCall
    ) -> None:
        self._session = session
        self._state = state
        self._source = source
        self._open_call = open_call
        self._call: Any = None
        self._closed = False
        # Guards _state, _call and _closed. Reentrant, since the garbage collector may close an
        # abandoned stream on any of its threads.
        lock = threading.RLock()
        self._can_pull = threading.Condition(lock)
        self._can_call = threading.Condition(lock)
        self._can_send = threading.Condition(lock)
        self._can_take = threading.Condition(lock)

    def outcomes(self) -> Generator[StreamResult, None, None]:
        """Yield each result, then raise the error that ended the stream or its source."""
        threads = [
            _thread(self._pull, "classwire-pull"),
            _thread(self._converse, "classwire-read"),
        ]
        self._state.begin()
        try:
            with self._session.told_of_close(self._abandon):
                for thread in threads:
                    thread.start()
                while True:
                    self._session.check_process()  # a fork has none of the threads
                    with self._can_take:
                        while not self._can_take.wait_for(
                            lambda: self._state.has_outcome or self._state.is_over, SIGNAL_LAG_S
                        ):
                            pass
                        if not self._state.has_outcome:
                            break
                        taken = self._state.take()
                        if self._state.wants_item:
                            self._can_pull.notify()
                    yield taken
        finally:
            self._close(threads)
        self._state.finish()

    def _pull(self) -> None:
        """Feed the state from the caller's iterable, on a thread of its own."""
        failure: BaseException | None = None
        source = self._source
        try:
            with _closing(source):
                while self._wait_to_pull():
                    try:
                        item = next(source)
                    except StopIteration:
                        break
                    with self._can_pull:
                        self._state.add(item)
                        if self._state.wants_message:
                            self._can_send.notify_all()
                        elif self._state.wants_call:
                            self._can_call.notify()
                        if self._state.has_outcome:
                            self._can_take.notify()
        except BaseException as error:  # the caller sees every error of its iterable
            failure = error
        with self._can_pull:
            self._state.exhausted(failure)
            self._notify_all()

    def _wait_to_pull(self) -> bool:
        with self._can_pull:
            self._can_pull.wait_for(lambda: self._is_done or self._state.wants_item)
            return not self._is_done

    def _requests(self, calls_ended: int) -> Iterator[pb.StreamClassifyRequest]:
        """The requests of one call, run by gRPC's thread until the call ends or no item is left."""

        def is_past() -> bool:
            return self._closed or self._state.calls_ended != calls_ended

        yield self._state.first_request
        while True:
            with self._can_send:
                self._can_send.wait_for(
                    lambda: is_past() or self._state.wants_message or self._state.sending_is_over
                )
                if is_past() or not self._state.wants_message:
                    return
                request = self._state.next_message()
            yield request

    def _converse(self) -> None:
        """Make one call after the other until the stream is over, on a thread of its own."""
        while self._wait_to_call():
            failure = self._hold_call()
            with self._can_call:
                self._state.ended(failure)
                self._notify_all()

    def _wait_to_call(self) -> bool:
        with self._can_call:
            self._can_call.wait_for(
                lambda: self._closed or self._state.skips_pause, self._state.pause_s
            )
            self._can_call.wait_for(lambda: self._is_done or self._state.wants_call)
            return not self._is_done

    def _hold_call(self) -> Exception | None:
        """Make a call and feed the state from it; return its error, if any."""
        call: Any = None
        try:
            with self._can_call:
                timeout_s = self._state.begin_call()
                requests = self._requests(self._state.calls_ended)
            with self._session.calling():
                call = self._open_call(requests, timeout_s)
                with self._can_call:
                    self._call = call
                    is_closed = self._closed
                if is_closed:  # `_close` could not cancel it yet
                    call.cancel()
                for response in call:
                    with self._can_take:
                        self._state.receive(response)
                        self._notify_all()
        except Exception as error:  # any error must end the caller's wait
            return error
        finally:
            if call is not None:
                call.cancel()
        return None

    @property
    def _is_done(self) -> bool:
        return self._closed or self._state.is_over

    def _abandon(self) -> None:
        with self._can_call:
            self._state.abandon()
            self._can_call.notify()

    def _notify_all(self) -> None:
        for condition in (self._can_pull, self._can_call, self._can_send, self._can_take):
            condition.notify_all()

    def _close(self, threads: list[threading.Thread]) -> None:
        if self._session.is_forked:  # a thread of the parent may hold the lock, for ever
            return
        with self._can_take:
            self._closed = True
            self._notify_all()
            call = self._call
        if call is not None:
            call.cancel()
        for thread in threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(JOIN_TIMEOUT_S)


def _thread(run: Callable[[], None], name: str) -> threading.Thread:
    """A thread with the caller's context variables, for its source and interceptors."""
    context = contextvars.copy_context()
    return threading.Thread(target=context.run, args=(run,), name=name, daemon=True)


def _closing(source: Source) -> contextlib.AbstractContextManager[object]:
    """Close the caller's iterable at the end, if it is a generator."""
    return contextlib.closing(source) if isinstance(source, Generator) else contextlib.nullcontext()
