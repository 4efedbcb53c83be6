"""Log lines: their two formats, the access log, and the absence of secrets."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire.contract.tokens import hash_of, new_token
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.observability import logs
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, eventually
from tests.contract.failures import SECRET
from tests.contract.overloads import OVERLOADS
from tests.observability.metrics.conftest import Observed
from tests.observability.metrics.scrape import Scrape

Configure = Callable[..., io.StringIO]


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configures logging for one test: `configure("debug", "json")`."""
    loggers = [logging.getLogger(name) for name in ("classwire_server", "grpc")]
    before = [(logger.level, [*logger.handlers]) for logger in loggers]

    def start(
        level: str = "info", format: str = "json", stream: io.StringIO | None = None
    ) -> io.StringIO:
        stream = stream or io.StringIO()
        logs.configure(level, format, stream)
        return stream

    yield start
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers = handlers


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Parse JSON lines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def log(message: str, *args: object, **extra: object) -> None:
    """Write a line with a logger of the server."""
    logging.getLogger("classwire_server.test").warning(message, *args, extra=extra)


def test_json(configure: Configure) -> None:
    """Each line is one JSON object, even with line breaks in it. Empty fields are left out."""
    stream = configure()

    log('a "line"\nand %s', "ä", method="m", code="OK", reason="", tokens=None)

    [line] = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "classwire_server.test",
        "message": 'a "line"\nand ä',
        "method": "m",
        "code": "OK",
    }


def test_pretty(configure: Configure) -> None:
    """A pretty line has the message, then the fields. What is no mere information says so."""
    stream = configure(format="pretty")

    log("it is %s", "so", request_id="abc", duration_ms=1.5)
    logging.getLogger("classwire_server.test").info("so it is")

    warning, information = (line.partition("Z ")[2] for line in stream.getvalue().splitlines())
    assert warning == "WARNING test: it is so request_id=abc duration_ms=1.5"
    assert information == "so it is"


def test_pretty_lines_cannot_be_forged(configure: Configure) -> None:
    """Line breaks and control characters in messages and tracebacks are escaped. Letters of any
    script are kept.
    """
    stream = configure(format="pretty")
    forged = "/tmp/x\n2026-01-01T00:00:00.000Z ERROR command: fake\r\x1b[2J\u2028\x85é"

    log("%s: no such folder", forged, caller="a\nb")
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("classwire_server").exception("failed")

    first, failed, *traceback = stream.getvalue().splitlines()
    assert first.endswith(
        r"test: /tmp/x\n2026-01-01T00:00:00.000Z ERROR command: fake\r\x1b[2J\u2028\x85é: "
        r"no such folder caller=a\nb"
    )
    assert failed.endswith("ERROR classwire_server: failed")
    assert all(line.startswith("  ") for line in traceback)
    assert "\x1b" not in stream.getvalue()


def test_tracebacks(configure: Configure) -> None:
    """A JSON line holds its traceback."""
    stream = configure()

    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("classwire_server").exception("failed")

    [line] = lines(stream)
    assert line["traceback"].endswith("ValueError: why")


def test_auto(configure: Configure) -> None:
    """A terminal gets pretty lines, any other stream gets JSON."""
    people, file = configure(format="auto", stream=Terminal()), configure(format="auto")

    log("hello")

    assert people.getvalue().endswith("WARNING test: hello\n")
    assert lines(file)[0]["message"] == "hello"


def test_lines_of_grpc(configure: Configure) -> None:
    """Lines of gRPC have the same format."""
    stream = configure()

    logging.getLogger("grpc._server").error("what gRPC says")

    assert lines(stream)[0]["message"] == "what gRPC says"


def ended_calls(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines of the access log."""
    return [line for line in lines(stream) if line["message"] == "call ended"]


def test_access_log(configure: Configure, observed: Observed, connect: Any) -> None:
    """Each call of any service has a line with its result and duration."""
    stream = configure()
    server = observed(access_log=True)
    channel = connect(server.target)
    stub: Any = ClassifyServiceStub(channel)
    mine = (("x-request-id", "mine"),)

    batch = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in ("good", " ")])
    stub.BatchClassify(batch, timeout=PATIENCE_S, metadata=mine)
    with pytest.raises(grpc.RpcError):
        stub.Classify(pb.ClassifyRequest(model="other"), timeout=PATIENCE_S)
    with Conversation(channel) as conversation:
        conversation.send_items(item("1", "good"), item("2", "book"))
        conversation.half_close()
        conversation.read_to_end()

    assert eventually(lambda: len(ended_calls(stream)) == 3)
    good, bad, streamed = ended_calls(stream)
    assert good.pop("duration_ms") > 0
    assert good.pop("time")
    assert good == {
        "level": "info",
        "logger": "classwire_server.observability.logs",
        "message": "call ended",
        "request_id": "mine",
        "method": "classwire.v1.ClassifyService/BatchClassify",
        "code": "OK",
        "model": "tiny",
        "texts": 2,
        "tokens": 3,
    }
    assert (bad["code"], bad["reason"]) == ("NOT_FOUND", "UNKNOWN_MODEL")
    assert (streamed["code"], streamed["texts"], streamed["tokens"]) == ("OK", 2, 6)


def test_the_access_log_is_off_by_default(
    configure: Configure, observed: Observed, connect: Any
) -> None:
    """Without the setting, calls have no lines: thousands per second would cost too much."""
    stream = configure("debug")
    stub: Any = ClassifyServiceStub(connect(observed().target))

    stub.Classify(pb.ClassifyRequest(input=pb.TextInput(text="good")), timeout=PATIENCE_S)

    assert not ended_calls(stream)


def known_to_alice(observed: Observed, folder: Path) -> tuple[Server, str]:
    """Start a server with an access log and one caller. Returns it and the caller's token."""
    token = new_token("alice")
    callers = folder / "callers.toml"
    callers.write_text(f'[alice]\ntokens = ["{hash_of(token)}"]\n')
    return observed(access_log=True, callers=str(callers)), token


def test_neither_texts_nor_credentials(
    configure: Configure, observed: Observed, connect: Any, tmp_path: Any
) -> None:
    """However a call ends, no line holds its text or token. Its line names the caller."""
    stream = configure("debug")
    server, token = known_to_alice(observed, tmp_path)
    channel = connect(server.target)
    stub: Any = ClassifyServiceStub(channel)

    for words, shown in (
        (SECRET, token),
        (f"boom {SECRET}", token),
        (f"nan {SECRET}", token),
        (f"deadly {SECRET}", token),
        (SECRET * 9_000, token),
        (SECRET, f"{token}x"),
    ):
        request = pb.ClassifyRequest(input=pb.TextInput(text=words))
        metadata = (("authorization", f"Bearer {shown}"),)
        with suppress(grpc.RpcError):
            stub.Classify(request, timeout=PATIENCE_S, metadata=metadata)

    assert eventually(lambda: len(ended_calls(stream)) == 6)
    *known, unknown = ended_calls(stream)
    assert {line["caller"] for line in known} == {"alice"}
    assert unknown["reason"] == "BAD_CREDENTIALS"
    assert "caller" not in unknown
    written = stream.getvalue()
    assert "xylomancy" not in written.lower()
    assert token not in written
    assert token.removeprefix("cw_alice_") not in written


@pytest.mark.parametrize("overload", OVERLOADS)
def test_calls_rejected_before_they_are_read(
    configure: Configure,
    observed: Observed,
    connect: Any,
    tmp_path: Any,
    overload: Callable[[Server], None],
) -> None:
    """They are counted and logged with their caller, and their trailers have the request id."""
    stream = configure("info")
    server, token = known_to_alice(observed, tmp_path)
    overload(server)
    stub: Any = ClassifyServiceStub(connect(server.target))
    request = pb.ClassifyRequest(input=pb.TextInput(text=SECRET))
    known = (("authorization", f"Bearer {token}"),)

    for request_id, metadata in (("first", known), ("second", known), ("third", ())):
        sent = (*metadata, ("x-request-id", request_id))
        with pytest.raises(grpc.RpcError) as rejected:
            stub.Classify(request, timeout=PATIENCE_S, metadata=sent)
        error: Any = rejected.value
        returned = [value for key, value in error.trailing_metadata() if key == "x-request-id"]
        assert returned == [request_id]

    assert eventually(lambda: len(ended_calls(stream)) == 3)
    assert [
        (line["request_id"], line["code"], line["reason"], line.get("caller"))
        for line in ended_calls(stream)
    ] == [
        ("first", "RESOURCE_EXHAUSTED", "OVERLOADED", "alice"),
        ("second", "RESOURCE_EXHAUSTED", "OVERLOADED", "alice"),
        ("third", "UNAUTHENTICATED", "MISSING_CREDENTIALS", None),
    ]
    scrape = Scrape(server)
    assert scrape.value("classwire_calls_total", reason="OVERLOADED") == 2
    assert scrape.value("classwire_calls_total", reason="MISSING_CREDENTIALS") == 1
