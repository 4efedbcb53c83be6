"""Servers that Ray Serve places on a cluster of two nodes within this machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("ray", reason="Ray is not installed: `make test-ray` installs it")

from benchmarks.instrument import descendants
from classwire import Client
from classwire_server.ray import Fleet, down, replica_states, targets, up
from tests.contract.engines import eventually
from tests.engine.worker.callers import is_gone
from tests.ray.clusters import HOST, cluster, named

PATIENCE_S = 200.0
pytestmark = pytest.mark.timeout(3 * PATIENCE_S)
TEXT = "I really love this book"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a cluster of two nodes, each with a core and a server."""
    with cluster(2) as running:
        up(Fleet(2))
        assert eventually(lambda: len(targets() or ()) == 2, PATIENCE_S)
        yield running.address
        down()


def servers() -> list[int]:
    """Return the processes of the servers."""
    return named(descendants(os.getpid()), "-m classwire_server.cli.child")


def ray_command(address: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `classwire ray`."""
    return subprocess.run(
        [sys.executable, "-m", "classwire", "ray", *arguments, "--address", address],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_each_node_has_a_server(address: str) -> None:
    """Each server answers at its own address, with the scores of the others."""
    found = targets() or []
    assert len({target.rpartition(":")[2] for target in found}) == 2
    assert all(target.startswith(f"{HOST}:") for target in found)
    scores = []
    for target in found:
        with Client(target) as client:
            scores.append(client.classify(TEXT).score)
    assert scores[0] == scores[1]
    assert replica_states()["RUNNING"] == 2


def test_the_command_shows_the_servers(address: str, tmp_path: Path) -> None:
    """`status` prints the states and addresses; `targets` writes the file that Envoy watches."""
    shown = ray_command(address, "status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.splitlines() == ["2 RUNNING", *(targets() or [])]
    file = tmp_path / "replicas.yaml"
    assert ray_command(address, "targets", "--file", str(file)).returncode == 0
    [assignment] = yaml.safe_load(file.read_text())["resources"]
    [endpoints] = assignment["endpoints"]
    ports = [each["endpoint"]["address"]["socket_address"] for each in endpoints["lb_endpoints"]]
    assert [f"{port['address']}:{port['port_value']}" for port in ports] == targets()


def test_a_killed_server_is_replaced(address: str) -> None:
    """A server that is killed is no target any more, and another takes its place."""
    before = set(targets() or ())
    os.kill(servers()[0], signal.SIGKILL)
    assert eventually(
        lambda: len(now := set(targets() or ())) == 2 and len(now & before) == 1, PATIENCE_S
    )
    assert len(servers()) == 2


def test_a_server_ends_with_its_replica(address: str) -> None:
    """When the process of a replica is killed, its server ends too, and both are replaced."""
    before = set(targets() or ())
    replicas = named(descendants(os.getpid()), "ray::ServeReplica:classwire:Servers")
    child = named(descendants(replicas[0]), "-m classwire_server.cli.child")[0]
    os.kill(replicas[0], signal.SIGKILL)
    assert eventually(lambda: is_gone(child), PATIENCE_S)
    assert eventually(
        lambda: len(now := set(targets() or ())) == 2 and len(now & before) == 1, PATIENCE_S
    )


def test_servers_that_do_not_start_are_reported(address: str) -> None:
    """`up` with a wrong setting exits with 2 and names it, and leaves the servers alone."""
    before = targets()
    ended = ray_command(address, "up", "--replicas", "2", "--precision", "int7")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "int7" in ended.stderr
    assert targets() == before
    assert (
        "less than --replicas"
        in ray_command(address, "up", "--replicas", "2", "--max-replicas", "1").stderr
    )


def test_down_ends_all_servers(address: str) -> None:
    """`down` ends all servers; then no command finds any, and says how to start them."""
    pids = servers()
    assert ray_command(address, "down").returncode == 0
    assert eventually(lambda: all(map(is_gone, pids)), PATIENCE_S)
    ended = ray_command(address, "targets")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "classwire ray up" in ended.stderr
