"""Endings of streams, early or not: no text is lost, and no thread stays."""

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from classwire import (
    ClasswireError,
    Client,
    DeadlineExceededError,
    InvalidInputError,
    OverloadedError,
    Reason,
    StreamItem,
    StreamResult,
    UnavailableError,
)
from classwire.testing import FakeServer

from .conftest import Source

MakeClient = Callable[..., Any]


WAIT_S = 30
NOT_AN_ID: Any = 7


def stream_threads() -> list[threading.Thread]:
    """Return the live threads of streams."""
    names = {"classwire-pull", "classwire-read"}
    return [thread for thread in threading.enumerate() if thread.name in names]


def drained(stream: Iterator[StreamResult]) -> tuple[list[str], Exception | None]:
    """Return the ids that a stream answers, and the error that ends it."""
    answered = []
    try:
        for id_, _, _ in stream:
            answered.append(id_)
    except Exception as error:
        return answered, error
    return answered, None


def test_stopping_early_cleans_up(client: Any) -> None:
    """Closing a stream early closes the source and leaves no thread."""
    source = Source()
    stream = client.classify_stream(source.texts)
    next(stream)
    stream.close()
    assert source.closed.is_set()
    assert not stream_threads()


def test_a_dropped_stream_cleans_up(server: FakeServer) -> None:
    """Leaving the loop is enough: garbage collection of the generator ends the stream."""
    source = Source()
    with Client(server.target) as client:
        for _ in client.classify_stream(source.texts):
            break
        gc.collect()
        assert source.closed.is_set()
        assert not stream_threads()


def test_a_source_that_blocks_is_closed_when_it_comes_back(server: FakeServer) -> None:
    """Stopping does not wait for a source that blocks; the source is closed when it returns."""
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
    """An early stop cancels the call, so that abandoned streams hold no server threads."""
    for _ in range(20):  # more than the fake has threads
        stream = client.classify_stream(Source().texts)
        next(stream)
        stream.close()
    assert client.classify("text").label == "long"


def test_an_error_of_the_source_comes_last(client: Any) -> None:
    """The source's exception is raised unchanged, after the outcomes of all earlier items."""
    error = KeyError("mine")

    def source() -> Iterator[str]:
        yield from ["one", "two"]
        raise error

    answered, raised = drained(client.classify_stream(source()))
    assert answered == ["0", "1"]
    assert raised is error


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (StreamItem("a", "text"), InvalidInputError),
        (StreamItem("", "text"), InvalidInputError),
        (StreamItem(NOT_AN_ID, "text"), TypeError),
    ],
    ids=["repeated id", "no id", "no str as id"],
)
def test_a_bad_element_comes_last(
    client: Any, server: FakeServer, bad: Any, kind: type[Exception]
) -> None:
    """An invalid element ends the stream after the outcomes of earlier items, and closes the
    source.
    """
    server.hold()
    closed = threading.Event()

    def source() -> Iterator[Any]:
        try:
            yield StreamItem("a", "text")
            yield bad
            yield "never asked for"
        finally:
            closed.set()
            server.release()

    answered, raised = drained(client.classify_stream(source()))
    assert answered == ["a"]
    assert isinstance(raised, kind)
    assert closed.is_set()


def test_a_broken_stream_says_what_is_unanswered(
    make_client: MakeClient, server: FakeServer
) -> None:
    """Without retries a broken stream gives the outcomes so far, and its error lists the other
    ids.
    """
    client = make_client(server.target, retry=False)
    server.break_stream(Reason.DRAINING, after_results=5)
    stream = client.classify_stream([StreamItem(f"id-{number}", "text") for number in range(9)])
    answered, raised = drained(stream)
    assert isinstance(raised, UnavailableError)
    assert raised.reason is Reason.DRAINING
    assert answered == [f"id-{number}" for number in range(5)]
    assert raised.unanswered == tuple(f"id-{number}" for number in range(5, 9))
    assert len(server.calls) == 1
    assert not stream_threads()


def test_a_server_that_goes_away_for_good_loses_no_text(make_client: MakeClient) -> None:
    """When the server is gone for good, each text has an outcome or is in the error's unanswered
    ids, once the client's patience ends.
    """
    with FakeServer(["yes"]) as server:
        source = Source()
        stream = make_client(server.target, timeout_s=0.3).classify_stream(source.texts)
        next(stream)
        server.hold()
        server.stop()
        answered, raised = drained(stream)
    assert isinstance(raised, UnavailableError)
    ids = {"0", *answered, *raised.unanswered}
    assert ids == {str(number) for number in range(source.given)}
    assert 1 + len(answered) + len(raised.unanswered) == source.given


def test_a_stream_that_is_rejected(make_client: MakeClient, server: FakeServer) -> None:
    """Without retries a rejected stream raises its error and reads nothing of the source."""
    client = make_client(server.target, retry=False)
    source = Source()
    server.fail_next(Reason.TOO_MANY_STREAMS, retry_after_s=0.5)
    with pytest.raises(OverloadedError) as raised:
        list(client.classify_stream(source.texts))
    assert raised.value.reason is Reason.TOO_MANY_STREAMS
    assert raised.value.retry_after_s == 0.5
    assert source.given == 0


def test_a_stream_may_have_a_deadline(client: Any, server: FakeServer) -> None:
    """A stream with a deadline ends with the unanswered ids in its error."""
    server.hold()
    with pytest.raises(DeadlineExceededError) as raised:
        list(client.classify_stream(["text"], timeout_s=0.3))
    assert raised.value.unanswered == ("0",)


def test_closing_the_client_ends_its_streams(make_client: MakeClient, server: FakeServer) -> None:
    """Closing the client ends its streams with an error."""
    client = make_client(server.target)
    stream = client.classify_stream(Source().texts)
    next(stream)
    client.close()
    assert isinstance(drained(stream)[1], ClasswireError)
