"""`classwire top`: what it computes of metrics, and how it shows it."""

import http.server
import io
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from classwire import Client, InvalidInputError
from classwire.cli import rendering
from classwire.cli.failures import Failure
from classwire.cli.top import metrics
from classwire.cli.top.metrics import Snapshot, Window
from classwire.cli.top.view import view
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.cli.conftest import Run
from tests.contract.engines import FakeEngine, eventually

BEFORE = """\
# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{method="A",code="OK"} 10.0
calls_total{method="A",code="NOT_FOUND"} 1.0
calls_total{method="B",code="OK"} 500.0
took_bucket{le="0.1"} 0.0
took_bucket{le="0.5"} 10.0
took_bucket{le="+Inf"} 10.0
took_sum 3.0
took_count 10.0
"""
NOW = """\
calls_total{method="A",code="OK"} 30.0
calls_total{method="A",code="NOT_FOUND"} 5.0
calls_total{method="B",code="OK"} 20.0
took_bucket{le="0.1"} 80.0
took_bucket{le="0.5"} 100.0
took_bucket{le="+Inf"} 110.0
took_sum 23.0
took_count 110.0
"""
MODELS = ("tiny", "fifth", "fourth", "second", "sixth", "third")


@pytest.fixture
def window() -> Window:
    """Return a window of two seconds."""
    return Window(Snapshot(BEFORE, 100.0), Snapshot(NOW, 102.0))


def test_rates(window: Window) -> None:
    """Rates sum by any of the labels; a new counter has grown from 0."""
    assert window.rate("calls_total", method="A") == 12
    assert window.rate("calls_total", method="A", code="OK") == 10
    assert window.rate("calls_total", method="B") == 10
    assert window.rate("calls_total", method="C") == 0
    assert Window(window.now, window.now).rate("calls_total", method="A") is None


def test_histograms(window: Window) -> None:
    """Quantiles and means are of the window alone; above the last bound they are unknown."""
    assert window.mean("took") == pytest.approx(0.2)
    assert window.quantile(0.4, "took") == pytest.approx(0.05)
    assert window.quantile(0.85, "took") == pytest.approx(0.3)
    assert window.quantile(0.99, "took") == 0.5
    assert Window(window.now, window.now).quantile(0.5, "took") is None


def test_labels() -> None:
    """Escaped label values are decoded."""
    snapshot = Snapshot(r'info{path="C:\\new, \"a\"\n}",b="2"} 1.0', 0.0)

    assert list(snapshot.of("info")) == [({"path": 'C:\\new, "a"\n}', "b": "2"}, 1.0)]


@pytest.fixture(scope="module")
def server(checkpoint: Callable[..., Path]) -> Iterator[Server]:
    """Yield a server with metrics and six models that has answered some calls. A wait for its
    readiness has ended.
    """
    folder = checkpoint("bert")
    models = tuple(f"{name}={folder}" for name in MODELS)
    engine = FakeEngine()
    with (
        Server(ServerConfig(port=0, model=models, metrics_port=0), engine.launch) as server,
        Client(server.target) as client,
    ):
        client.wait_until_ready()
        assert len(client.models()) == len(MODELS)
        client.classify("good")
        with pytest.raises(InvalidInputError):
            client.classify(" ")
        assert [each.outcome for each in client.classify_stream(["good"])]
        assert eventually(lambda: _calls(server) == 5)  # a call is counted after its answer
        yield server
        engine.release()


def _calls(server: Server) -> float:
    with urllib.request.urlopen(f"http://{server.metrics_target}/metrics") as response:
        return Snapshot(response.read().decode(), 0.0).sum("classwire_calls_total")


def test_once(server: Server, classwire: Run) -> None:
    """`--once` prints one whole view within the terminal's width: the port, models, queues, errors,
    calls, batches. A watch that its caller ended is no error.
    """
    ended = classwire("top", "--target", server.metrics_target, "--once", "--interval-s", "0.1")

    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"classwire 0.1.0  {server.metrics_target}  up ")
    assert lines[2].startswith("streams 0 of 32")
    rows = [line.split() for line in lines]
    titles = ["models", "queue", "errors", "calls", "batches"]
    assert [row[0] for row in rows if row and row[0] in titles] == titles
    assert ["Classify", "0.0", "–", "–", "0.0"] in rows
    assert ["StreamClassify", "0.0", "–", "–", "0.0"] in rows
    assert ["Watch", "0.0", "–", "–", "0.0"] in rows
    assert "CANCELLED" not in ended.out
    assert ["tiny", "interactive", "0", "0", "0", "%", "–", "–", "–"] in rows
    assert ["EMPTY_TEXT", "calls,", "Classify", "0.0", "1"] in rows
    assert max(map(len, lines)) <= 80


def test_what_happens_meanwhile(server: Server) -> None:
    """The view holds the calls between two readings, and their latency."""
    before = metrics.read(server.metrics_target)
    with Client(server.target) as client:
        client.classify_batch(["good", "book", ""])
    window = Window(before, metrics.read(server.metrics_target))
    out = Console(file=io.StringIO(), width=120, legacy_windows=False)
    out.print(view(window, server.metrics_target, 120))

    assert isinstance(out.file, io.StringIO)
    rows = {tuple(line.split()[:2]): line.split() for line in out.file.getvalue().splitlines()}
    model = rows["tiny", "ready"]
    assert float(model[2].replace(",", "")) > 0
    assert rows["tiny", "interactive"][-1] in ("ms", "s")
    assert rows["EMPTY_TEXT", "texts,"][3] != "0.0"


@pytest.mark.parametrize("height", [24, 9, 60])
def test_as_high_as_the_screen(server: Server, height: int) -> None:
    """On 80 columns and 24 rows the models, the queue, the errors and the busiest calls have room;
    a table says how many rows it leaves out. A higher screen shows everything.
    """
    before = metrics.read(server.metrics_target)
    with Client(server.target) as client:
        client.classify(f"good {height}", model="third")
    window = Window(before, metrics.read(server.metrics_target))
    out = Console(file=io.StringIO(), width=80, height=height, legacy_windows=False)
    out.print(view(window, server.metrics_target, *out.size))

    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= 80
    firsts = [line.split("  ")[0] for line in lines[3:]]
    if height == 24:
        assert firsts[:18] == [
            *("models", *MODELS),
            *("queue", "tiny", "tiny", "tiny", "third", "14 more"),
            *("errors", "EMPTY_TEXT", "EMPTY_TEXT"),
            *("calls", "Classify"),
        ]
    else:
        cut = [first for first in firsts if first.endswith(" more")]
        assert (firsts[0], cut) == (("models", ["2 more"]) if height == 9 else ("", []))


@pytest.mark.parametrize("colours", ["", "1"])
def test_without_a_terminal(
    server: Server, classwire: Run, monkeypatch: pytest.MonkeyPatch, colours: str
) -> None:
    """Without a terminal the views follow each other until Ctrl-C, which exits with 0, also where
    FORCE_COLOR asks for colours.
    """
    monkeypatch.setenv("FORCE_COLOR", colours)
    _interrupt(monkeypatch, after=2)
    ended = classwire("top", "--target", server.metrics_target)

    assert ended.code == 0
    assert "\x1b[?1049h" not in ended.out
    assert ended.out.count("classwire 0.1.0") == 2


def test_on_a_terminal(server: Server, classwire: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal each view replaces the last; a server that does not answer is asked again."""
    screen = io.StringIO()
    monkeypatch.setattr(
        rendering, "console", lambda: Console(file=screen, force_terminal=True, width=100)
    )
    read, answers = metrics.read, iter((True, False, True))

    def sometimes(target: str) -> Snapshot:
        if next(answers):
            return read(target)
        raise Failure("not there")

    monkeypatch.setattr(metrics, "read", sometimes)
    _interrupt(monkeypatch, after=2)

    assert classwire("top", "--target", server.metrics_target).code == 0
    first, gone, back = screen.getvalue().split("classwire 0.1.0")[1:]
    assert "no answer from" in gone
    assert "no answer from" not in first + back
    assert "\x1b[?1049h" in screen.getvalue()


def test_no_server_there(unanswered_target: str, classwire: Run) -> None:
    """Without a server the error names the address and the option that turns metrics on."""
    ended = classwire("top", "--target", unanswered_target, "--once")

    assert ended.code == 1
    assert ended.complaint.startswith(f"no metrics at {unanswered_target}; ")


@pytest.mark.parametrize("url", ["http://{}/metrics", "http://{}/", "HTTP://{}"])
def test_a_url(server: Server, classwire: Run, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """The target may be the URL that Prometheus reads."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    ended = classwire("top", "--target", url.format(server.metrics_target), "--once")

    assert (ended.code, ended.err) == (0, "")
    assert server.metrics_target in ended.out


@pytest.mark.parametrize(
    "target", ["localhost", "https://localhost:9464", "localhost:9464/other", "h:66000", "::1", ""]
)
def test_no_address(classwire: Run, target: str) -> None:
    """A target without a port, or that is no metrics URL, is a wrong use, before any call."""
    ended = classwire("top", "--target", target)

    assert ended.code == 2
    assert f"{target!r} must be HOST:PORT, or http://HOST:PORT/metrics." in ended.complaint


def test_another_port(server: Server, classwire: Run) -> None:
    """The port of calls is reported as not serving metrics."""
    ended = classwire("top", "--target", server.target, "--once")

    assert ended.complaint == (
        f"no metrics at {server.target}; what answers there is no HTTP server"
    )


def test_another_program(classwire: Run) -> None:
    """The port of another program is reported as not serving metrics."""

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"up 1\n")

        def log_message(self, *of: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as other:
        answering = threading.Thread(target=other.handle_request)
        answering.start()
        ended = classwire("top", "--target", f"127.0.0.1:{other.server_port}")
        answering.join()

    assert ended.complaint.endswith("is not a Classwire metrics port")


def _interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Raise KeyboardInterrupt after `after` intervals, which take no time."""
    left = iter(range(after))

    def sleep(seconds: float) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
