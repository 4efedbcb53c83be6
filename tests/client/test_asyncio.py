"""Behaviour of `AsyncClient` alone: async sources, tasks, event loops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from classwire import (
    AsyncClient,
    CancelledError,
    Reason,
    UnavailableError,
)
from classwire.testing import FakeServer


async def async_texts(count: int, closed: list[bool]) -> AsyncIterator[str]:
    """Yield texts, and record when the generator is closed."""
    try:
        for _ in range(count):
            await asyncio.sleep(0)
            yield "text"
    finally:
        closed.append(True)


def test_async_sources(server: FakeServer) -> None:
    """A stream reads an async generator lazily, and closes it when the caller stops early."""

    async def run() -> None:
        closed: list[bool] = []
        async with AsyncClient(server.target) as client:
            stream = client.classify_stream(async_texts(300, closed), in_order=True)
            assert [id_ async for id_, _, _ in stream] == [str(number) for number in range(300)]
            assert closed == [True]
            endless = client.classify_stream(async_texts(1_000_000, closed))
            async with contextlib.aclosing(endless):
                await anext(endless)
            assert closed == [True, True]
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert not names & {"classwire-pull", "classwire-read"}

    asyncio.run(run())


def test_a_broken_stream_does_not_wait_for_an_async_source(server: FakeServer) -> None:
    """A broken stream raises its error while the async source still waits for its next text."""

    async def source() -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    async def run() -> None:
        async with AsyncClient(server.target, retry=False) as client:
            server.break_stream(Reason.DRAINING, after_results=0)
            with pytest.raises(UnavailableError) as raised:
                await anext(client.classify_stream(source()))
            assert raised.value.unanswered == ("0",)

    asyncio.run(run())


def test_async_calls_run_side_by_side(server: FakeServer) -> None:
    """Streams and calls of one AsyncClient run concurrently on one event loop."""

    async def run() -> None:
        async with AsyncClient(server.target) as client:

            async def count() -> int:
                return len([id_ async for id_, _, _ in client.classify_stream(["text"] * 300)])

            *calls, first, second = await asyncio.gather(
                *(client.classify("text") for _ in range(20)), count(), count()
            )
            assert (first, second, len(calls)) == (300, 300, 20)

    asyncio.run(run())


def test_a_cancelled_async_call_is_cancelled(server: FakeServer) -> None:
    """Cancelling the task raises asyncio.CancelledError, not a ClasswireError."""

    async def run() -> None:
        async with AsyncClient(server.target) as client:
            server.hold()
            stream = client.classify_stream(["text"])
            tasks = [
                asyncio.ensure_future(anext(stream)),
                asyncio.create_task(client.classify("a")),
            ]
            done, _ = await asyncio.wait(tasks, timeout=0.2)
            assert not done
            for task in tasks:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            server.release()
            assert (await client.classify("text")).label == "long"

    asyncio.run(run())


def test_closing_an_async_client_cancels_its_calls(server: FakeServer) -> None:
    """Closing the client ends its calls with a ClasswireError, since the caller cancelled no
    task.
    """

    async def run() -> None:
        client = AsyncClient(server.target)
        server.hold()
        call = asyncio.create_task(client.classify("text"))
        while not server.calls:
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(CancelledError):
            await call

    asyncio.run(run())


def test_an_async_client_belongs_to_one_loop(server: FakeServer) -> None:
    """A client made outside a loop works in the first loop; in a second loop it raises an error."""
    client = AsyncClient(server.target)

    async def first() -> None:
        await client.classify("text")

    async def second() -> None:
        with pytest.raises(RuntimeError, match="event loop"):
            await client.classify("text")

    with asyncio.Runner() as one, asyncio.Runner() as two:
        one.run(first())
        two.run(second())
        one.run(client.close())
