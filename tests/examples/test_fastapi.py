"""The example of a service with FastAPI, against a fake server."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from classwire import Reason
from classwire.testing import FakeServer
from examples.fastapi import service


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Return a fake server with one label that is more likely than the other."""
    with FakeServer(lambda text, pair: {"bad": 0.25, "pair" if pair else "good": 0.75}) as running:
        yield running


@pytest.fixture
def http(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Return an HTTP client of the service, which calls the fake server."""
    monkeypatch.setenv("CLASSWIRE_TARGET", server.target)
    monkeypatch.setattr(service, "TIMEOUT_S", 0.5)
    with TestClient(service.app) as client:
        yield client


def test_answers(http: TestClient, server: FakeServer) -> None:
    """One text has label and score; each text of a batch has them, or its error. The service shares
    one client, and each call has a deadline.
    """
    one = http.post("/classify", json={"text": "a text"})
    pair = http.post("/classify", json={"text": "a text", "text_pair": "another"})
    batch = http.post("/classify-batch", json=["a text", " "])
    ready = http.get("/ready")

    assert (one.status_code, one.json()) == (200, {"label": "good", "score": 0.75})
    assert pair.json() == {"label": "pair", "score": 0.75}
    first, second = batch.json()
    assert first == one.json()
    assert second["error"]["reason"] == "EMPTY_TEXT"
    assert (ready.status_code, ready.json()) == (200, {"health": "SERVING"})
    assert http.post("/classify-batch", json=["a"] * 65).status_code == 422
    assert all(call.time_left_s and call.time_left_s < 2 for call in server.calls)


def test_errors(http: TestClient, server: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """Each error has its HTTP status: the caller's fault with a message, the server's without one,
    an overload with the time to wait. The log has those that are not the caller's fault.
    """

    def post(text: str) -> tuple[int, str, str | None]:
        answer = http.post("/classify", json={"text": text})
        error = answer.json()["error"]
        assert ("message" in error) == (answer.status_code < 500)
        return answer.status_code, error["reason"], answer.headers.get("retry-after")

    assert post(" ") == (422, "EMPTY_TEXT", None)
    server.fail_text("poison", Reason.POISON_INPUT)
    assert post("poison") == (422, "POISON_INPUT", None)
    server.fail_next(Reason.OVERLOADED, retry_after_s=6.5)
    assert post("a text") == (503, "OVERLOADED", "7")
    server.fail_next(Reason.INTERNAL)
    assert post("a text") == (500, "INTERNAL", None)
    server.hold()
    assert post("a text") == (504, "DEADLINE_EXCEEDED", None)
    server.release()
    server.stop()
    assert post("a text")[0] == 503
    ready = http.get("/ready")
    assert (ready.status_code, ready.json()) == (503, {"health": "UNAVAILABLE"})
    assert "(request None)" not in caplog.text
