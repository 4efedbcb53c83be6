"""Streams over a real connection, as the caller's loop sees them."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from classwire import (
    Client,
    InvalidInputError,
    Reason,
)
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb

from .conftest import Source, by_length

MakeClient = Callable[..., Any]


WAIT_S = 30


def sizes(server: FakeServer) -> list[int]:
    """Return how many items each message of the streams held."""
    return [
        len(request.items.items)
        for request in server.requests
        if isinstance(request, pb.StreamClassifyRequest) and request.HasField("items")
    ]


def test_every_text_has_its_outcome(client: Any, server: FakeServer) -> None:
    """A stream longer than the window gives one outcome an id, for good and bad texts."""
    server.fail_text("bad", Reason.TOO_MANY_TOKENS)
    texts = ["bad" if number % 10 == 0 else "x" * (number + 1) for number in range(1000)]
    outcomes = {result.id: result.outcome for result in client.classify_stream(texts)}
    assert sorted(map(int, outcomes)) == list(range(1000))
    for number, text in enumerate(texts):
        outcome = outcomes[str(number)]
        if text == "bad":
            assert isinstance(outcome, InvalidInputError)
        else:
            assert {s.label: s.score for s in outcome.scores}["short"] == pytest.approx(
                1 / len(text)
            )


def test_a_stream_of_nothing(client: Any) -> None:
    """A stream without texts ends at once."""
    assert list(client.classify_stream([])) == []


def test_a_fast_source_fills_messages(client: Any, server: FakeServer) -> None:
    """A list of a thousand texts goes in few messages."""
    assert len(list(client.classify_stream(["text"] * 1000))) == 1000
    assert max(sizes(server)) == 64
    assert len(sizes(server)) < 100


def test_results_in_order(client: Any, server: FakeServer) -> None:
    """With `in_order` results keep the input's order, also around texts that the client rejects."""
    texts = ["\ud800" if number % 7 == 0 else "text" for number in range(300)]
    ids = [id_ for id_, _, _ in client.classify_stream(texts, in_order=True)]
    assert ids == [str(number) for number in range(300)]
    first = server.requests[0]
    assert isinstance(first, pb.StreamClassifyRequest)
    assert first.config.ordering == pb.ORDERING_IN_ORDER


@pytest.mark.parametrize("in_order", [False, True])
def test_results_do_not_wait_for_the_source(client: Any, in_order: bool) -> None:
    """A result is delivered while the source waits for it: no item waits for a full message, sent
    or rejected.
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
    for id_, _, _ in client.classify_stream(items, in_order=in_order):
        ids.append(id_)
        answered.release()
    assert ids == ["0", "1", "2"]


@pytest.mark.parametrize(("window", "held"), [(None, 8), (3, 3)])
def test_the_source_is_read_lazily(make_client: MakeClient, window: int | None, held: int) -> None:
    """The client reads at most a window ahead of the loop."""
    with FakeServer(["yes"], window_items=8, max_items_per_message=4) as server:
        source = Source()
        stream = make_client(server.target).classify_stream(source.texts, window=window)
        assert source.given == 0
        for taken in range(1, 50):
            next(stream)
            assert source.given - taken <= held
        stream.close()
        assert source.closed.wait(WAIT_S)


@pytest.mark.parametrize(
    "options", [{"window": 0}, {"item_timeout_s": -1}, {"timeout_s": 0}, {"top_k": -1}]
)
def test_bad_options_are_rejected_before_the_loop(client: Any, options: dict[str, Any]) -> None:
    """Invalid options raise an error at the call, not at the first `next`."""
    with pytest.raises(InvalidInputError):
        client.classify_stream(["text"], **options)


def test_streams_of_several_threads(server: FakeServer) -> None:
    """Threads can run streams of one client at the same time."""
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
    """The source runs in the caller's context variables, though on a thread of the client."""
    variable = contextvars.ContextVar("variable", default="none")
    seen = []

    def source() -> Iterator[str]:
        seen.append(variable.get())
        yield "text"

    variable.set("the caller's")
    with Client(server.target) as client:
        list(client.classify_stream(source()))
    assert seen == ["the caller's"]


def test_the_fakes_answers_depend_on_the_text() -> None:
    """The fake's answers depend on the text, so that these tests notice swapped outcomes."""
    assert by_length("x", None) != by_length("xx", None)
