"""Drives a `StreamState` with threads, for `Client`.

The caller's iterable may block, and so may the server: one thread pulls items, gRPC's own thread
sends them, one thread reads results, and the caller's thread takes outcomes as they come.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import grpc

from ._stream import StreamState
from .errors import from_rpc_error
from .results import Item, Outcome, Text
from .v1 import classwire_pb2 as pb

JOIN_TIMEOUT_S = 1.0
"""How long the end of a stream waits for a source that is in the middle of making an item."""

Source = Iterator[str | Text | Item]
OpenCall = Callable[[Iterator[pb.StreamClassifyRequest]], Any]


class ThreadedStream:
    """One stream, run while the generator of `outcomes` is."""

    def __init__(self, state: StreamState, source: Source, open_call: OpenCall) -> None:
        self._state = state
        self._source = source
        self._open_call = open_call
        self._call: Any = None
        self._closed = False
        # The lock guards _state and _closed. Reentrant, since the garbage collector may close an
        # abandoned stream from inside any of its threads.
        lock = threading.RLock()
        self._can_pull = threading.Condition(lock)
        self._can_send = threading.Condition(lock)
        self._can_take = threading.Condition(lock)

    def outcomes(self) -> Generator[tuple[str, Outcome], None, None]:
        """Yield each id with its outcome, then raise what the stream or its source ended with."""
        context = contextvars.copy_context()
        threads = [
            threading.Thread(
                target=context.run, args=(self._pull,), name="classwire-pull", daemon=True
            ),
            threading.Thread(target=self._read, name="classwire-read", daemon=True),
        ]
        try:
            self._call = self._open_call(self._requests())
            for thread in threads:
                thread.start()
            while True:
                with self._can_take:
                    self._can_take.wait_for(lambda: self._state.has_outcome or self._state.is_over)
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
                            self._can_send.notify()
                        if self._state.has_outcome:
                            self._can_take.notify()
        except BaseException as error:  # whatever the iterable raises is the caller's to see
            failure = error
        with self._can_pull:
            self._state.exhausted(failure)
            self._can_send.notify()

    def _wait_to_pull(self) -> bool:
        with self._can_pull:
            self._can_pull.wait_for(lambda: self._is_done or self._state.wants_item)
            return not self._is_done

    def _requests(self) -> Iterator[pb.StreamClassifyRequest]:
        """What gRPC's thread sends; it ends when nothing more will be."""
        yield self._state.first_request
        while True:
            with self._can_send:
                self._can_send.wait_for(
                    lambda: self._closed or self._state.wants_message or self._state.sending_is_over
                )
                if self._closed or not self._state.wants_message:
                    return
                request = self._state.next_message()
            yield request

    def _read(self) -> None:
        """Feed the state from the server, on a thread of its own."""
        failure: Exception | None = None
        try:
            try:
                for response in self._call:
                    with self._can_take:
                        self._state.receive(response)
                        self._notify_all()
            except grpc.RpcError as error:
                raise from_rpc_error(error) from error
        except Exception as error:  # whatever it is, the caller must not wait for ever
            failure = error
            self._call.cancel()
        with self._can_take:
            self._state.ended(failure)
            self._notify_all()

    @property
    def _is_done(self) -> bool:
        return self._closed or self._state.is_over

    def _notify_all(self) -> None:
        for condition in (self._can_pull, self._can_send, self._can_take):
            condition.notify_all()

    def _close(self, threads: list[threading.Thread]) -> None:
        with self._can_take:
            self._closed = True
            self._notify_all()
        if self._call is not None:
            self._call.cancel()
        for thread in threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(JOIN_TIMEOUT_S)


def _closing(source: Source) -> contextlib.AbstractContextManager[object]:
    """Close the caller's iterable in the end, if it is a generator."""
    return contextlib.closing(source) if isinstance(source, Generator) else contextlib.nullcontext()
