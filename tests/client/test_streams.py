"""Streams over a real connection: what a caller's loop sees, and what is left behind."""

import asyncio
import contextlib
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from classwire import (
    AsyncClient,
    ClasswireError,
    Client,
    DeadlineExceeded,
    InvalidInput,
    Item,
    Overloaded,
    Reason,
    Unavailable,
)
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb

from .conftest import by_length

MakeClient = Callable[..., Any]
WAIT_S = 30


def stream_threads() -> list[threading.Thread]:
    """The threads of streams that are alive."""
    names = {"classwire-pull", "classwire-read"}
    return [thread for thread in threading.enumerate() if thread.name in names]


def sizes(server: FakeServer) -> list[int]:
    """How many items each message of the streams held."""
    return [
        len(request.items.items)
        for request in server.requests
        if isinstance(request, pb.StreamClassifyRequest) and request.HasField("items")
    ]


def drained(stream: Iterator[tuple[str, Any]]) -> tuple[list[str], Exception | None]:
    """The ids that a stream answers, and the error that it ends with."""
    answered = []
    try:
        for id_, _ in stream:
            answered.append(id_)
    except Exception as error:
        return answered, error
    return answered, None


class Source:
    """A generator of texts that notes how far it went, and that it was closed."""

    def __init__(self, count: int = 1_000_000) -> None:
        self.given = 0
        self.closed = threading.Event()
        self.texts = self._texts(count)

    def _texts(self, count: int) -> Iterator[str]:
        try:
            for _ in range(count):
                self.given += 1
                yield "text"
        finally:
            self.closed.set()


def test_every_text_has_its_outcome(client: Any, server: FakeServer) -> None:
    """More texts than the window: each id once, good and bad ones side by side."""
    server.fail_text("bad", Reason.TOO_MANY_TOKENS)
    texts = ["bad" if number % 10 == 0 else "x" * (number + 1) for number in range(1000)]
    outcomes = dict(client.classify_stream(texts))
    assert sorted(map(int, outcomes)) == list(range(1000))
    for number, text in enumerate(texts):
        outcome = outcomes[str(number)]
        if text == "bad":
            assert isinstance(outcome, InvalidInput)
        else:
            assert {s.label: s.score for s in outcome.scores}["short"] == pytest.approx(
                1 / len(text)
            )


def test_a_stream_of_nothing(client: Any) -> None:
    """Ends at once."""
    assert list(client.classify_stream([])) == []


def test_a_fast_source_fills_messages(client: Any, server: FakeServer) -> None:
    """A list of a thousand texts goes in few messages."""
    assert len(list(client.classify_stream(["text"] * 1000))) == 1000
    assert max(sizes(server)) == 64
    assert len(sizes(server)) < 100


def test_results_in_order(client: Any, server: FakeServer) -> None:
    """When asked for, also across texts that were never sent."""
    texts = ["\ud800" if number % 7 == 0 else "text" for number in range(300)]
    ids = [id_ for id_, _ in client.classify_stream(texts, in_order=True)]
    assert ids == [str(number) for number in range(300)]
    first = server.requests[0]
    assert isinstance(first, pb.StreamClassifyRequest)
    assert first.config.ordering == pb.ORDERING_IN_ORDER


@pytest.mark.parametrize("in_order", [False, True])
def test_results_do_not_wait_for_the_source(client: Any, in_order: bool) -> None:
    """A source that makes an item only once the one before is answered: nothing waits for a full
    message, nor does a text that is not even sent.
    """
    answered = threading.Semaphore(0)
    texts = ["one", "\ud800", "three"]

    def source() -> Iterator[str]:
        for text in texts:
            yield text
            assert answered.acquire(timeout=WAIT_S)

    async def async_source() -> AsyncIterator[str]:
        for text in texts:
            yield text
            while not answered.acquire(blocking=False):
                await asyncio.sleep(0)

    items = source() if isinstance(client, Client) else async_source()
    ids = []
    for id_, _ in client.classify_stream(items, in_order=in_order):
        ids.append(id_)
        answered.release()
    assert ids == ["0", "1", "2"]


@pytest.mark.parametrize(("window", "held"), [(None, 8), (3, 3)])
def test_the_source_is_read_lazily(make_client: MakeClient, window: int | None, held: int) -> None:
    """At most the window lies between the source and the loop, at every step."""
    with FakeServer(["yes"], window_items=8, max_items_per_message=4) as server:
        source = Source()
        stream = make_client(server.target).classify_stream(source.texts, window=window)
        assert source.given == 0
        for taken in range(1, 50):
            next(stream)
            assert source.given - taken <= held
        stream.close()
        assert source.closed.wait(WAIT_S)


def test_stopping_early_cleans_up(client: Any) -> None:
    """The source is closed when the stream is, and no thread is left."""
    source = Source()
    stream = client.classify_stream(source.texts)
    next(stream)
    stream.close()
    assert source.closed.is_set()
    assert not stream_threads()


def test_a_dropped_stream_cleans_up(server: FakeServer) -> None:
    """Leaving the loop is enough: the generator goes with it."""
    source = Source()
    with Client(server.target) as client:
        for _ in client.classify_stream(source.texts):
            break
        gc.collect()
        assert source.closed.is_set()
        assert not stream_threads()


def test_a_source_that_blocks_is_closed_when_it_comes_back(server: FakeServer) -> None:
    """Stopping does not wait for ever for it."""
    blocked, closed = threading.Event(), threading.Event()

    def source() -> Iterator[str]:
        try:
            yield "one"
            blocked.wait(WAIT_S)
            yield "two"
        finally:
            closed.set()

    with Client(server.target) as client:
        stream = client.classify_stream(source())
        assert next(stream)[0] == "0"
        stream.close()
        assert not closed.is_set()
        blocked.set()
        assert closed.wait(WAIT_S)


def test_an_early_stop_reaches_the_server(client: Any) -> None:
    """The call is cancelled: streams that were left don't hold the server's threads."""
    for _ in range(20):  # more than the fake has threads
        stream = client.classify_stream(Source().texts)
        next(stream)
        stream.close()
    assert client.classify("text").label == "long"


def test_an_error_of_the_source_comes_last(client: Any) -> None:
    """All that was given before has its outcome; then the caller's own exception, as it was."""
    error = KeyError("mine")

    def source() -> Iterator[str]:
        yield from ["one", "two"]
        raise error

    answered, raised = drained(client.classify_stream(source()))
    assert answered == ["0", "1"]
    assert raised is error


@pytest.mark.parametrize(
    ("bad", "kind"),
    [(Item("a", "text"), InvalidInput), (Item("", "text"), InvalidInput), (b"text", TypeError)],
    ids=["repeated id", "no id", "no text"],
)
def test_a_bad_element_comes_last(
    client: Any, server: FakeServer, bad: Any, kind: type[Exception]
) -> None:
    """It ends the stream after the outcomes of those before; the source is closed."""
    server.hold()
    closed = threading.Event()

    def source() -> Iterator[Any]:
        try:
            yield Item("a", "text")
            yield bad
            yield "never asked for"
        finally:
            closed.set()
            server.release()

    answered, raised = drained(client.classify_stream(source()))
    assert answered == ["a"]
    assert isinstance(raised, kind)
    assert closed.is_set()


def test_a_broken_stream_says_what_is_unanswered(client: Any, server: FakeServer) -> None:
    """What was answered before comes first; the others' ids are in the error. No silent retry."""
    server.break_stream(Reason.DRAINING, after_results=5)
    stream = client.classify_stream([Item(f"id-{number}", "text") for number in range(9)])
    answered, raised = drained(stream)
    assert isinstance(raised, Unavailable)
    assert raised.reason is Reason.DRAINING
    assert answered == [f"id-{number}" for number in range(5)]
    assert raised.unanswered == tuple(f"id-{number}" for number in range(5, 9))
    assert len(server.calls) == 1
    assert not stream_threads()


def test_a_server_that_goes_away_loses_no_text(make_client: MakeClient) -> None:
    """Whatever was taken from the source has an outcome, or is unanswered in the error."""
    with FakeServer(["yes"]) as server:
        source = Source()
        stream = make_client(server.target).classify_stream(source.texts)
        next(stream)
        server.hold()
        server.stop()
        answered, raised = drained(stream)
    assert isinstance(raised, Unavailable)
    ids = {"0", *answered, *raised.unanswered}
    assert ids == {str(number) for number in range(source.given)}
    assert 1 + len(answered) + len(raised.unanswered) == source.given


def test_a_stream_that_is_refused(client: Any, server: FakeServer) -> None:
    """Its error is raised, and nothing of the source was consumed."""
    source = Source()
    server.fail_next(Reason.TOO_MANY_STREAMS, retry_after_s=0.5)
    with pytest.raises(Overloaded) as raised:
        list(client.classify_stream(source.texts))
    assert raised.value.reason is Reason.TOO_MANY_STREAMS
    assert raised.value.retry_after_s == 0.5
    assert source.given == 0


def test_a_stream_may_have_a_deadline(client: Any, server: FakeServer) -> None:
    """When asked for: then what is unanswered is in the error."""
    server.hold()
    with pytest.raises(DeadlineExceeded) as raised:
        list(client.classify_stream(["text"], timeout_s=0.3))
    assert raised.value.unanswered == ("0",)


@pytest.mark.parametrize(
    "options", [{"window": 0}, {"item_timeout_s": -1}, {"timeout_s": 0}, {"top_k": -1}]
)
def test_bad_options_are_refused_before_the_loop(client: Any, options: dict[str, Any]) -> None:
    """By the call, and not by the first `next`."""
    with pytest.raises(InvalidInput):
        client.classify_stream(["text"], **options)


def test_closing_the_client_ends_its_streams(make_client: MakeClient, server: FakeServer) -> None:
    """With an error, rather than a loop that waits for ever."""
    client = make_client(server.target)
    stream = client.classify_stream(Source().texts)
    next(stream)
    client.close()
    assert isinstance(drained(stream)[1], ClasswireError)


def test_streams_of_several_threads(server: FakeServer) -> None:
    """One client serves all of them at the same time."""
    counts: list[int] = []
    with Client(server.target) as client:

        def run() -> None:
            counts.append(len(list(client.classify_stream(["text"] * 500))))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
    assert counts == [500] * 4


def test_the_source_sees_the_callers_context(server: FakeServer) -> None:
    """Context variables are those of the caller, though a thread of the client's asks."""
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    def source() -> Iterator[str]:
        seen.append(variable.get())
        yield "text"

    variable.set("the caller's")
    with Client(server.target) as client:
        list(client.classify_stream(source()))
    assert seen == ["the caller's"]


async def async_texts(count: int, closed: list[bool]) -> AsyncIterator[str]:
    """An async generator that notes that it was closed."""
    try:
        for _ in range(count):
            await asyncio.sleep(0)
            yield "text"
    finally:
        closed.append(True)


def test_async_sources(server: FakeServer) -> None:
    """An async generator is consumed as it comes, and closed at an early stop."""

    async def run() -> None:
        closed: list[bool] = []
        async with AsyncClient(server.target) as client:
            stream = client.classify_stream(async_texts(300, closed), in_order=True)
            assert [id_ async for id_, _ in stream] == [str(number) for number in range(300)]
            assert closed == [True]
            endless = client.classify_stream(async_texts(1_000_000, closed))
            async with contextlib.aclosing(endless):
                await anext(endless)
            assert closed == [True, True]
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert not names & {"classwire-pull", "classwire-read"}

    asyncio.run(run())


def test_a_broken_stream_does_not_wait_for_an_async_source(server: FakeServer) -> None:
    """Its error is raised while the source still waits for its next text."""

    async def source() -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    async def run() -> None:
        async with AsyncClient(server.target) as client:
            server.break_stream(Reason.DRAINING, after_results=0)
            with pytest.raises(Unavailable) as raised:
                await anext(client.classify_stream(source()))
            assert raised.value.unanswered == ("0",)

    asyncio.run(run())


def test_async_calls_run_side_by_side(server: FakeServer) -> None:
    """Streams and calls of one AsyncClient share its loop."""

    async def run() -> None:
        async with AsyncClient(server.target) as client:

            async def count() -> int:
                return len([id_ async for id_, _ in client.classify_stream(["text"] * 300)])

            *calls, first, second = await asyncio.gather(
                *(client.classify("text") for _ in range(20)), count(), count()
            )
            assert (first, second, len(calls)) == (300, 300, 20)

    asyncio.run(run())


def test_a_cancelled_async_call_is_cancelled(server: FakeServer) -> None:
    """Cancelling the task is asyncio's CancelledError, not an error of ours."""

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


def test_an_async_client_belongs_to_one_loop(server: FakeServer) -> None:
    """It may be made outside of it; on a second loop it says what is wrong."""
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


def test_the_fakes_answers_depend_on_the_text() -> None:
    """So that the tests here would see outcomes beside the wrong texts."""
    assert by_length("x", None) != by_length("xx", None)
