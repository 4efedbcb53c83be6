"""The metrics port: its responses, its address, and its shutdown."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Gauge

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError, StartError
from classwire_server.observability.metrics.exposition import Exposition
from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.observability.metrics.conftest import Observed
from tests.observability.metrics.scrape import Scrape, get


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("GET", "/metrics?name[]=classwire_draining", 200),
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../metrics", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/metrics", 405),
    ],
)
def test_one_path(served: Server, verb: str, path: str, status: int) -> None:
    """The port serves GET /metrics and nothing else."""
    assert get(served, path, verb)[0] == status


def test_no_port(observed: Observed) -> None:
    """With port -1 the server serves no metrics."""
    assert observed(metrics_port=-1).metrics_target == ""


def test_the_default_address_is_loopback() -> None:
    """Only this machine reaches the metrics, unless another address is given."""
    assert ServerConfig().metrics_host == "127.0.0.1"
    with pytest.raises(ConfigError, match="--metrics-host"):
        ServerConfig(metrics_host="")


def test_metrics_while_loading(observed: Observed, bert: str) -> None:
    """The server serves metrics while models load, and their state is loading."""
    server = Server(ServerConfig(port=0, metrics_port=0, model=(f"tiny={bert}",)))
    server.listen()
    try:
        assert Scrape(server).value("classwire_model_state", model="tiny", state="loading") == 1
    finally:
        server.stop(0)


def test_the_port_closes_with_the_server(observed: Observed) -> None:
    """A stopped server closes the port, even if a client holds a connection."""
    server = observed()
    host, _, port = server.metrics_target.rpartition(":")
    with socket.create_connection((host, int(port))):
        server.stop()

        with pytest.raises(ConnectionRefusedError):
            get(server)


@pytest.fixture
def impatient() -> Iterator[Exposition]:
    """A port that closes slow connections at once, with more metrics than its socket can buffer."""
    registry = CollectorRegistry()
    gauge = Gauge("large", "Many values.", ["name"], registry=registry)
    for number in range(1_000):
        gauge.labels(f"{number:10000}").set(1)
    exposition = Exposition(registry, "127.0.0.1", 0, timeout_s=0.1)
    yield exposition
    exposition.close()


@pytest.mark.parametrize("request_line", [b"", b"GET /metr", b"GET /metrics HTTP/1.0\r\n\r\n"])
def test_a_slow_client(impatient: Exposition, request_line: bytes) -> None:
    """The server closes the connection of a client that sends no request, or does not read the
    response; meanwhile it answers others.
    """
    with (
        socket.create_connection(("127.0.0.1", impatient.port)) as slow,
        socket.create_connection(("127.0.0.1", impatient.port)) as other,
    ):
        slow.settimeout(PATIENCE_S)
        slow.sendall(request_line)
        other.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b"404" in other.recv(100)
        assert eventually(lambda: not handlers())
        received = sum(map(len, iter(lambda: slow.recv(1 << 20), b"")))
    assert received < 10_000_000


def test_a_client_that_leaves(impatient: Exposition, capfd: pytest.CaptureFixture[str]) -> None:
    """The server writes nothing to standard error, which belongs to the log."""
    with socket.create_connection(("127.0.0.1", impatient.port)) as leaving:
        leaving.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        leaving.recv(1)
    assert eventually(lambda: not handlers())
    assert capfd.readouterr().err == ""


def handlers() -> list[str]:
    """Return the names of threads that serve a connection of the metrics port."""
    return [each.name for each in threading.enumerate() if "process_request" in each.name]


def test_a_port_in_use(observed: Observed, engine: FakeEngine, bert: str) -> None:
    """The server does not start, and its error names the address."""
    taken = observed().metrics_target
    second = Server(
        ServerConfig(port=0, metrics_port=int(taken.rpartition(":")[2]), model=(f"tiny={bert}",)),
        engine.launch,
    )

    with pytest.raises(StartError, match=taken):
        second.start()
    second.stop(0)


def test_two_servers_in_one_process(observed: Observed, served: Server) -> None:
    """Each server counts only its own texts."""
    quiet = observed()
    get(served)

    assert Scrape(quiet).value("classwire_texts_total") == 0


def test_openmetrics(served: Server) -> None:
    """A client that accepts OpenMetrics gets it."""
    connection = http.client.HTTPConnection(served.metrics_target)
    accept = "application/openmetrics-text;version=1.0.0"
    connection.request("GET", "/metrics", headers={"Accept": accept})
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()

    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_a_burst_of_connections() -> None:
    """Many connections at once are made at once: none waits until its SYN is repeated."""
    exposition = Exposition(CollectorRegistry(), "127.0.0.1", 0)
    address = ("127.0.0.1", exposition.port)
    connections = [socket.create_connection(address, timeout=0.9) for _ in range(60)]
    for connection in connections:
        connection.close()
    exposition.close()
