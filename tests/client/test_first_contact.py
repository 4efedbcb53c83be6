"""Both clients before and after a server has first answered them."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classwire import Reason, UnavailableError
from classwire._calls import retry
from classwire._calls.retry import Retry
from classwire.testing import FakeServer

MakeClient = Callable[..., Any]
WAIT_S = 60
BRIEF_S = 0.2
ASKS: dict[str, Callable[[Any], Any]] = {
    "classify": lambda client: client.classify("text"),
    "classify_batch": lambda client: client.classify_batch(["text"]),
    "classify_stream": lambda client: list(client.classify_stream(["text"])),
}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the retry pauses of all clients, in seconds; leave little time for them."""
    monkeypatch.setattr(retry, "FIRST_CONTACT_S", BRIEF_S)
    made: list[float] = []
    pause_s = Retry.pause_s

    def noted(retry: Retry, error: Exception, left_s: float | None) -> float | None:
        pause = pause_s(retry, error, left_s)
        made.append(pause or 0.0)
        return pause

    monkeypatch.setattr(Retry, "pause_s", noted)
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no time for retries before the first contact."""
    monkeypatch.setattr(retry, "FIRST_CONTACT_S", 0.0)


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_server_that_was_never_there(
    make_client: MakeClient, unanswered_target: str, pauses: list[float], ask: Callable[[Any], Any]
) -> None:
    """Without a server, a client that none has answered tries for a moment, whatever its timeout.
    Its error is one plain sentence.
    """
    with pytest.raises(UnavailableError) as raised:
        ask(make_client(unanswered_target))
    assert sum(pauses) < BRIEF_S
    assert raised.value.message == (
        f"no server answers at {unanswered_target}; start one with `classwire serve`"
    )


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_server_that_is_loading_has_answered(
    client: Any, server: FakeServer, ask: Callable[[Any], Any]
) -> None:
    """The client retries a server that rejects its very first calls with a reason."""
    server.fail_next(Reason.LOADING, times=3)
    ask(client)
    assert len(server.calls) >= 4


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_one_dead_replica(
    make_client: MakeClient,
    server: FakeServer,
    unanswered_target: str,
    ask: Callable[[Any], Any],
) -> None:
    """The first call reaches the server that is there, if another of the addresses is dead."""
    ask(make_client([unanswered_target, server.target]))
    assert server.calls


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_server_that_was_there(
    make_client: MakeClient, tmp_path: Path, ask: Callable[[Any], Any]
) -> None:
    """After any answer, calls and streams wait for a server that restarts."""
    target = f"unix:{tmp_path}/server.sock"
    client = make_client(target, timeout_s=WAIT_S)
    with FakeServer(["yes"], address=target):
        client.wait_until_ready(WAIT_S)
    started: list[FakeServer] = []

    def restart() -> None:
        started.append(FakeServer(["yes"], address=target))
        started[0].start()

    starting = threading.Timer(0.2, restart)
    starting.start()
    ask(client)
    starting.join()
    started[0].stop()
