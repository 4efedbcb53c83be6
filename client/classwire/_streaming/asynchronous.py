"""Drives a `StreamState` with tasks, for `AsyncClient`: as `threaded` does with threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

from classwire._connection.session import Session
from classwire.results import StreamItem, StreamResult, TextInput
from classwire.v1 import classwire_pb2 as pb

from .state import StreamState

Source = Iterator[str | TextInput | StreamItem] | AsyncIterator[str | TextInput | StreamItem]
OpenCall = Callable[[AsyncIterator[pb.StreamClassifyRequest], float | None], Any]


class AsyncStream:
    """One stream, which runs as long as the async generator of `outcomes`, on one event loop."""

    def __init__(
        self, session: Session, state: StreamState, source: Source, open_call: OpenCall
    ) -> None:
        self._session = session
        self._state = state
        self._source = source
        self._open_call = open_call
        self._can_pull = asyncio.Event()
        self._can_call = asyncio.Event()
        self._can_send = asyncio.Event()
        self._can_take = asyncio.Event()

    async def outcomes(self) -> AsyncGenerator[StreamResult, None]:
        """Yield each result, then raise the error that ended the stream or its source."""
        self._state.begin()
        tasks = [
            asyncio.create_task(self._pull(), name="classwire-pull"),
            asyncio.create_task(self._converse(), name="classwire-read"),
        ]
        try:
            with self._session.told_of_close(self._abandon):
                while True:
                    await _until(
                        self._can_take, lambda: self._state.has_outcome or self._state.is_over
                    )
                    if not self._state.has_outcome:
                        break
                    taken = self._state.take()
                    self._can_pull.set()
                    yield taken
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._state.finish()

    async def _pull(self) -> None:
        """Feed the state from the caller's iterable."""
        failure: BaseException | None = None
        source = self._source
        try:
            async with _closing(source):
                while await self._wait_to_pull():
                    try:
                        if isinstance(source, AsyncIterator):
                            item = await anext(source)
                        else:
                            item = next(source)
                    except (StopIteration, StopAsyncIteration):
                        break
                    self._state.add(item)
                    self._set_all()
        except Exception as error:  # the caller sees every error of its iterable
            failure = error
        except asyncio.CancelledError as error:  # the iterable's, unless the stream ended
            failure = None if self._state.is_over else error
        self._state.exhausted(failure)
        self._set_all()

    async def _wait_to_pull(self) -> bool:
        await _until(self._can_pull, lambda: self._state.is_over or self._state.wants_item)
        return not self._state.is_over

    async def _requests(self, calls_ended: int) -> AsyncIterator[pb.StreamClassifyRequest]:
        """The requests of one call; ends with the call, or after the last item."""

        def is_past() -> bool:
            return self._state.calls_ended != calls_ended

        yield self._state.first_request
        while True:
            await _until(
                self._can_send,
                lambda: is_past() or self._state.wants_message or self._state.sending_is_over,
            )
            if is_past() or not self._state.wants_message:
                return
            yield self._state.next_message()

    async def _converse(self) -> None:
        """Make one call after the other until the stream is over."""
        while await self._wait_to_call():
            self._state.ended(await self._hold_call())
            self._set_all()

    async def _wait_to_call(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._state.pause_s):
                await _until(self._can_call, lambda: self._state.skips_pause)
        await _until(self._can_call, lambda: self._state.is_over or self._state.wants_call)
        return not self._state.is_over

    async def _hold_call(self) -> Exception | None:
        """Make a call and feed the state from it; return its error, if any."""
        call: Any = None
        try:
            timeout_s = self._state.begin_call()
            with self._session.calling_async():
                call = self._open_call(self._requests(self._state.calls_ended), timeout_s)
                async for response in call:
                    self._state.receive(response)
                    self._set_all()
        except Exception as error:  # any error must end the caller's wait
            return error
        finally:
            if call is not None:
                call.cancel()
        return None

    def _abandon(self) -> None:
        self._state.abandon()
        self._can_call.set()

    def _set_all(self) -> None:
        for event in (self._can_pull, self._can_call, self._can_send, self._can_take):
            event.set()


@contextlib.asynccontextmanager
async def _closing(source: Source) -> AsyncIterator[None]:
    """Close the caller's iterable at the end, if it is a generator of either kind."""
    try:
        yield
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
        elif isinstance(source, Generator):
            source.close()


async def _until(changed: asyncio.Event, holds: Callable[[], bool]) -> None:
    """Wait until a condition holds. Each change that may make it hold sets the event."""
    while not holds():
        changed.clear()
        await changed.wait()
