"""The benchmark of replicas behind Envoy: its figures, its tables, and its load by JSON."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmarks import publication
from benchmarks.fleet import tables
from benchmarks.fleet.figures import added_ms, json_share, room, scaling
from benchmarks.fleet.load import by_json
from benchmarks.fleet.measuring import left
from benchmarks.fleet.points import JSON, LONE, ONE_LOADED, POINTS, TWO_LOADED, UNARY, Point
from benchmarks.targets import FLEET_TARGETS, measured

RECORDED = Path(__file__).with_name("recorded_benchmark.json")
GOOD, BAD = "good", "bad"


@pytest.fixture
def result() -> dict[str, Any]:
    """Return a result with round figures, in the form that a run writes."""
    recorded: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return recorded


def test_envoy_and_load_have_the_cores_that_replicas_leave() -> None:
    """Where replicas leave no core, Envoy and load share all."""
    assert left([0, 1, 2, 3], 1) == [1, 2, 3]
    assert left([0, 1, 2, 3], 2) == [2, 3]
    assert left([0, 1], 2) == [0, 1]
    assert left([0], 1) == [0]


def test_each_round_measures_what_the_result_holds(result: dict[str, Any]) -> None:
    """The recorded result has every point, and each shape by gRPC is measured without Envoy too."""
    names = [point.name for point in POINTS]
    assert len(set(names)) == len(POINTS)
    for model in result["fleet"]["models"].values():
        assert sorted(model) == sorted(names)
    through = {point.shape for point in LONE if "Envoy" in point.way}
    direct = {point.shape for point in LONE if "direct" in point.way}
    assert through - direct == {JSON}


def test_figures(result: dict[str, Any]) -> None:
    """Ratios and differences are those of the same round."""
    assert scaling(result, "bert-base").median == pytest.approx(1.9)
    assert json_share(result, "embedded").median == pytest.approx(0.8)
    assert added_ms(result, "embedded", UNARY, "p50").median == pytest.approx(0.5)
    one, two = (
        result["fleet"]["models"]["bert-base"][point.name] for point in (ONE_LOADED, TWO_LOADED)
    )
    one[0]["texts_per_s"], two[0]["texts_per_s"] = 1, 1
    assert scaling(result, "bert-base").least == pytest.approx(1.0)
    assert scaling(result, "bert-base").most == pytest.approx(1.9)


def test_the_throughput_for_which_the_cores_suffice(result: dict[str, Any]) -> None:
    """A text of the embedded checkpoint takes 4.7 ms of all processes, so two cores pass 425 a
    second: 1.7 times the 250 of one replica. Four cores pass more than two replicas do.
    """
    assert room(result, "embedded").median == pytest.approx(2 / 0.0047 / 250)
    result["fleet"]["cores"] = 4
    assert room(result, "embedded").median == 2


def test_a_target_that_the_cores_cannot_show_is_not_met(result: dict[str, Any]) -> None:
    """The target has no figure where the cores do not suffice for it, and the page says why."""
    (target,) = FLEET_TARGETS
    assert f"| {target.name} | at least 1.8 | 1.90 | met |" in tables.page(result)
    assert "**Not shown: embedded.**" in tables.page(result)
    assert "**Not shown: bert-base.**" not in tables.page(result)
    for sample in result["fleet"]["models"]["bert-base"][ONE_LOADED.name]:
        sample["processor_s"]["Envoy"] = 0.05

    assert measured(target, result) is None
    assert "**Not shown: bert-base.**" in tables.page(result)
    assert f"| {target.name} | at least 1.8 | not measured | – |" in tables.page(result)


def test_the_page_has_every_figure(result: dict[str, Any]) -> None:
    """The tables name the cores, and have throughput, latency, JSON and processor time of each
    model.
    """
    page = tables.page(result)

    assert page.startswith("2026-01-01, 2 cores of a processor (avx2), Python 3.11, torch 2.13.0")
    assert "cores [1] next to one replica, and on [0, 1] next to two" in page
    assert "| bert-base | 6.00 | 11.4 | 1.90 | 2.00 |" in page
    assert "| embedded, unary | 4.00 | 4.50 | 0.500 | 8.00 | 8.50 | 0.500 |" in page
    assert "| embedded, 32 at a time, texts/s | 250 | 200, × 0.800 |" in page
    assert "| embedded, single calls, p50, ms | 4.50 | 5.00 |" in page
    assert (
        f"| bert-base, {Point(*TWO_LOADED).name} at a time | 2,000 | 155,000 | 200 | 500 |" in page
    )


def test_publication_writes_the_guide_alone(result: dict[str, Any]) -> None:
    """A result with replicas changes the guide's figures; one without leaves the guide as it is."""
    guide = publication.FLEET_PAGE.read_text(encoding="utf-8")
    before, _, rest = guide.partition(publication.FLEET_BEGIN)
    after = rest.partition(publication.FLEET_END)[2]

    written = publication.with_fleet(guide, result)

    assert written.startswith(before)
    assert written.endswith(after)
    assert tables.page(result) in written
    del result["fleet"]
    assert publication.with_fleet(guide, result) == guide


class Answers(BaseHTTPRequestHandler):
    """Answers calls by JSON: with a result, or with an error for the text BAD."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer one call."""
        sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.texts.append(sent["input"]["text"])  # type: ignore[attr-defined]
        is_good = sent["input"]["text"] != BAD
        answer = {"result": {}} if is_good else {"code": 14, "message": "none is ready"}
        body = json.dumps(answer).encode()
        self.send_response(200 if is_good else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def answering() -> Iterator[ThreadingHTTPServer]:
    """Yield a server by HTTP that keeps the texts that it gets."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.texts = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_load_by_json(answering: ThreadingHTTPServer) -> None:
    """Each text is one call, over any connection, and has its latency."""
    texts = [f"{GOOD} {n}" for n in range(20)]

    sample = by_json(f"127.0.0.1:{answering.server_port}", texts, 3)

    assert sorted(answering.texts) == sorted(texts)  # type: ignore[attr-defined]
    assert (sample["texts"], len(sample["latencies_s"])) == (20, 20)
    assert 0 < max(sample["latencies_s"]) <= sample["seconds"]


def test_an_error_ends_the_load_by_json(answering: ThreadingHTTPServer) -> None:
    """A call that fails is an error of the measurement, with code and message."""
    with pytest.raises(ValueError, match="code 14: none is ready"):
        by_json(f"127.0.0.1:{answering.server_port}", [GOOD, BAD], 1)
