"""Retries of both clients over a real connection."""

import asyncio
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from classwire import (
    AsyncClient,
    CancelledError,
    Classification,
    ClasswireError,
    Client,
    DeadlineExceededError,
    InternalError,
    OverloadedError,
    Reason,
    StreamItem,
    UnavailableError,
    UnusableClientError,
)
from classwire._calls.retry import Retry
from classwire.testing import FakeServer
from classwire.testing.script import Script
from classwire.v1 import classwire_pb2 as pb
from tests.contract.engines import eventually

from .conftest import Source

MakeClient = Callable[..., Any]
WAIT_S = 30
LONG_S = 3600.0
"""A pushback that no test waits for."""


def sent(server: FakeServer) -> list[list[str]]:
    """Return the ids of each message of items."""
    return [
        [item.id for item in request.items.items]
        for request in server.requests
        if isinstance(request, pb.StreamClassifyRequest) and request.HasField("items")
    ]


def test_unavailable_calls_are_tried_again(client: Any, server: FakeServer) -> None:
    """Both clients retry UNAVAILABLE in every kind of call, and the caller sees only the answer."""
    asks: list[Callable[[], Any]] = [
        lambda: client.classify("text"),
        lambda: client.classify_batch(["text"])[0],
        lambda: next(client.classify_stream(["text"])).outcome,
    ]
    for ask in asks:
        server.fail_next(Reason.LOADING, times=3)
        calls = len(server.calls)
        assert ask().label == "long"
        assert len(server.calls) == calls + 4


def test_overloaded_calls_are_tried_again_after_the_pushback(
    client: Any, server: FakeServer
) -> None:
    """Both clients retry an overloaded call or stream after the server's pushback."""
    for reason in (Reason.OVERLOADED, Reason.RATE_LIMITED):
        server.fail_next(reason, retry_after_s=0.01, times=2)
        assert client.classify("text").label == "long"
    source = Source(3)
    server.fail_next(Reason.TOO_MANY_STREAMS, retry_after_s=0.01, times=2)
    assert len(list(client.classify_stream(source.texts))) == 3
    assert len(server.calls) == 9


def test_a_pushback_past_the_deadline_is_raised_at_once(client: Any, server: FakeServer) -> None:
    """A pushback that exceeds the deadline raises the error at once."""
    server.fail_next(Reason.OVERLOADED, retry_after_s=LONG_S, times=2)
    with pytest.raises(OverloadedError):
        client.classify("text")
    source = Source()
    with pytest.raises(OverloadedError):
        list(client.classify_stream(source.texts))
    assert (source.given, len(server.calls)) == (0, 2)


@pytest.mark.parametrize(
    "reason",
    [Reason.OVERLOADED, Reason.INTERNAL, Reason.POISON_INPUT, Reason.EXPIRED_IN_QUEUE],
)
def test_nothing_else_is_tried_again(client: Any, server: FakeServer, reason: Reason) -> None:
    """Both clients make one call for any other error, such as overload without a pushback."""
    for ask in (
        lambda: client.classify("text"),
        lambda: client.classify_batch(["text"]),
        lambda: list(client.classify_stream(["text"])),
    ):
        server.fail_next(reason)
        calls = len(server.calls)
        with pytest.raises(ClasswireError) as raised:
            ask()
        assert raised.value.reason is reason
        assert len(server.calls) == calls + 1


@pytest.mark.parametrize("reason", [Reason.LOADING, Reason.OVERLOADED])
def test_without_retries_nothing_is_tried_again(
    make_client: MakeClient, server: FakeServer, reason: Reason
) -> None:
    """With `retry=False` nothing retries, not even gRPC; a text's error is its outcome."""
    client = make_client(server.target, retry=False)
    for ask in (
        lambda: client.classify("text"),
        lambda: list(client.classify_stream(["text"])),
    ):
        server.fail_next(reason, retry_after_s=0.01)
        with pytest.raises(ClasswireError):
            ask()
    server.fail_text("text", reason, times=2, retry_after_s=0.01)
    assert client.classify_batch(["text"])[0].reason is reason
    assert next(client.classify_stream(["text"])).outcome.reason is reason
    assert len(server.calls) == 4


def test_retries_end_at_the_deadline_with_the_last_error(make_client: MakeClient) -> None:
    """Without a server, calls and streams raise UNAVAILABLE at the deadline, not a timeout."""
    with FakeServer(["yes"]) as server:
        gone = server.target
    client = make_client(gone, timeout_s=0.4)
    with pytest.raises(UnavailableError):
        client.classify("text")
    with pytest.raises(UnavailableError):
        client.classify_batch(["text"])
    with pytest.raises(UnavailableError):
        list(client.classify_stream(["text"]))
    with pytest.raises(UnavailableError):
        list(make_client(gone).classify_stream(["text"], timeout_s=0.4))
    with pytest.raises(UnavailableError):
        make_client(gone).health()  # fails at once


def test_only_the_texts_that_failed_are_sent_again(client: Any, server: FakeServer) -> None:
    """Batches and streams send only the failed texts again."""
    server.fail_text("lost", Reason.WORKER_LOST, times=1)
    server.fail_text("full", Reason.OVERLOADED, times=2, retry_after_s=0.01)
    outcomes = client.classify_batch(["one", "lost", "full", "two"])
    assert all(isinstance(outcome, Classification) for outcome in outcomes)
    batches = [
        [each.text for each in request.inputs]
        for request in server.requests
        if isinstance(request, pb.BatchClassifyRequest)
    ]
    assert batches == [["one", "lost", "full", "two"], ["lost", "full"], ["full"]]
    server.fail_text("lost", Reason.WORKER_LOST, times=1)
    outcomes = {
        result.id: result.outcome for result in client.classify_stream(["one", "lost", "two"])
    }
    assert all(isinstance(outcome, Classification) for outcome in outcomes.values())
    assert [id_ for message in sent(server) for id_ in message].count("0") == 1


def test_a_text_that_never_gets_better_is_an_error_in_the_end(
    make_client: MakeClient, server: FakeServer
) -> None:
    """A text that always fails is an error of its own in a batch; a stream raises its error
    last.
    """
    client = make_client(server.target, timeout_s=0.5)
    server.fail_text("lost", Reason.WORKER_LOST)
    good, lost = client.classify_batch(["good", "lost"])
    assert isinstance(good, Classification)
    assert lost.reason is Reason.WORKER_LOST
    stream = client.classify_stream(["good", "lost", "good"])
    assert [next(stream)[0], next(stream)[0]] == ["0", "2"]
    with pytest.raises(UnavailableError) as raised:
        next(stream)
    assert raised.value.unanswered == ("1",)


@pytest.mark.parametrize("in_order", [False, True])
def test_a_broken_stream_goes_on(client: Any, server: FakeServer, in_order: bool) -> None:
    """A broken stream reconnects, sends the unanswered items first, and gives one outcome an id."""
    for _ in range(3):
        server.break_stream(Reason.DRAINING, after_results=40)
    ids = [f"id-{number}" for number in range(200)]
    items = [StreamItem(id_, "text") for id_ in ids]
    assert [id_ for id_, _, _ in client.classify_stream(items, in_order=in_order)] == ids
    assert len(server.calls) == 4
    again = sent(server)
    first = next(at for at, message in enumerate(again) if at and message[0] == "id-40")
    assert again[first][0] == "id-40"
    assert not set(ids[:40]) & {id_ for message in again[first:] for id_ in message}


def test_a_stream_that_is_ended_while_idle_goes_on(client: Any, server: FakeServer) -> None:
    """When the server ends an idle stream, the next item reconnects; without one the stream ends
    well.
    """
    server.break_stream(Reason.DRAINING, after_results=1)
    server.break_stream(Reason.DRAINING, after_results=1)
    answered = threading.Semaphore(0)

    def source() -> Iterator[str]:
        for text in ("one", "two"):
            yield text
            if isinstance(client, Client):
                assert answered.acquire(timeout=WAIT_S)

    ids = []
    for id_, _, _ in client.classify_stream(source(), window=1):
        ids.append(id_)
        answered.release()
    assert ids == ["0", "1"]
    assert len(server.calls) == 2


def test_a_streams_deadline_holds_over_its_calls(client: Any, server: FakeServer) -> None:
    """A stream's deadline spans its calls, and each call has the remaining time."""
    server.fail_next(Reason.TOO_MANY_STREAMS, retry_after_s=0.3)
    assert len(list(client.classify_stream(["text"], timeout_s=9))) == 1
    first_s, second_s = (call.time_left_s or math.inf for call in server.calls)
    assert second_s < first_s - 0.2
    assert first_s < 9.1  # gRPC rounds the timeout that it sends


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the queue of retry pauses of all clients, as each begins."""
    begun: list[float] = []
    pause_s = Retry.pause_s

    def noted(retry: Retry, error: Exception, left_s: float | None) -> float | None:
        pause = pause_s(retry, error, left_s)
        if pause is not None:
            begun.append(pause)
        return pause

    monkeypatch.setattr(Retry, "pause_s", noted)
    return begun


@pytest.mark.parametrize("ask", ["classify", "classify_batch", "classify_stream"])
def test_closing_a_client_ends_its_pauses(
    server: FakeServer, pauses: list[float], ask: str
) -> None:
    """Closing a client raises an error at once in a caller that waits for a retry."""
    server.fail_next(Reason.RATE_LIMITED, retry_after_s=LONG_S)
    client = Client(server.target, timeout_s=math.inf)
    ended: list[BaseException] = []

    def run() -> None:
        try:
            getattr(client, ask)("text" if ask == "classify" else ["text"])
            list(client.classify_stream(["text"]))
        except ClasswireError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert eventually(lambda: bool(pauses))
    client.close()
    thread.join(WAIT_S)
    # Closing may end the stream before it gets the server's error.
    assert isinstance(ended[0], UnusableClientError if ask != "classify_stream" else ClasswireError)


def test_closing_an_async_client_ends_its_pauses(server: FakeServer, pauses: list[float]) -> None:
    """Closing an AsyncClient ends the retry pauses of calls and streams."""

    async def run() -> None:
        client = AsyncClient(server.target, timeout_s=math.inf)
        server.fail_next(Reason.RATE_LIMITED, retry_after_s=LONG_S, times=2)
        stream = client.classify_stream(["text"])
        waiting = [
            asyncio.ensure_future(anext(stream)),
            asyncio.ensure_future(client.classify("text")),
        ]
        while len(pauses) < 2:
            await asyncio.sleep(0)
        await client.close()
        for each in waiting:
            # Closing may end the stream before it gets the server's error.
            with pytest.raises((UnusableClientError, CancelledError, OverloadedError)):
                await asyncio.wait_for(each, WAIT_S)

    asyncio.run(run())


def test_a_stream_is_left_while_it_pauses(client: Any, server: FakeServer) -> None:
    """When the caller leaves a stream in a retry pause, its threads or tasks end."""
    server.break_stream(Reason.DRAINING, after_results=1)
    source = Source()
    stream = client.classify_stream(source.texts)
    next(stream)
    server.fail_next(Reason.TOO_MANY_STREAMS, retry_after_s=LONG_S / 1e3, times=1000)
    stream.close()
    assert source.closed.wait(WAIT_S)
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"classwire-pull", "classwire-read"}


@pytest.mark.parametrize(
    ("code", "details", "said"),
    [
        (grpc.StatusCode.CANCELLED, "", "server's side"),
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", "was cut"),
    ],
    ids=["server", "proxy"],
)
def test_aborted_calls_are_tried_again(
    make_client: MakeClient,
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    code: grpc.StatusCode,
    details: str,
    said: str,
) -> None:
    """A stopping server, or a proxy that lost its server, ends calls with a bare status. The client
    retries calls and streams alike, since the caller did not cancel.
    """
    cuts = 0
    begin = Script.begin

    def begin_or_cut(script: Script, context: grpc.ServicerContext) -> None:
        nonlocal cuts
        begin(script, context)
        if cuts:
            cuts -= 1
            context.abort(code, details)

    monkeypatch.setattr(Script, "begin", begin_or_cut)
    client = make_client(server.target)
    cuts = 2
    assert client.classify("text").label == "long"
    cuts = 2
    assert len(list(client.classify_stream(["text"] * 3))) == 3
    assert len(server.calls) == 6
    cuts = 1
    with pytest.raises(UnavailableError, match=said):
        make_client(server.target, retry=False).classify("text")


def test_a_defect_of_the_server_ends_a_stream(client: Any, server: FakeServer) -> None:
    """A server's contract violation ends the stream without a retry, since answers may be wrong."""
    server.break_stream(Reason.INTERNAL, after_results=2)
    with pytest.raises(InternalError) as raised:
        list(client.classify_stream(["text"] * 5))
    assert raised.value.unanswered == ("2", "3", "4")
    assert len(server.calls) == 1


def test_a_timeout_is_not_retried(client: Any, server: FakeServer) -> None:
    """A timeout is not retried as an unavailable server."""
    server.hold()
    with pytest.raises(DeadlineExceededError):
        client.classify("text", timeout_s=0.1)
    server.release()
