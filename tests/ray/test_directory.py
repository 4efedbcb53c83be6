"""The directory of addresses, the policy of their number, and the file for Envoy."""

import pickle
from pathlib import Path

import pytest
import yaml

from classwire import Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.ray.directory import EXPIRY_S, Directory
from classwire_server.ray.envoy import write_replicas
from classwire_server.ray.queue_time import QueueTime
from classwire_server.ray.scaling import TARGET_S, wanted
from classwire_server.server import Server
from tests.contract.engines import FakeEngine

SHIPPED = Path(__file__).parents[2] / "deploy" / "envoy" / "replicas.yaml"


class Clock:
    """A clock that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def test_a_new_directory_does_not_know_all_servers() -> None:
    """A directory has no answer until all servers have had the time to announce themselves: a file
    with some of them would take the others out of rotation.
    """
    clock = Clock()
    directory = Directory(clock)
    directory.announce("a", "10.0.0.1:1")
    assert directory.targets() is None
    clock.now_s += EXPIRY_S / 2
    directory.announce("a", "10.0.0.1:1")
    assert directory.targets() is None
    clock.now_s += EXPIRY_S / 2
    assert directory.targets() == ["10.0.0.1:1"]


def test_a_server_that_is_silent_is_gone() -> None:
    """A server that has not announced itself for EXPIRY_S is no target; another stays."""
    clock = Clock()
    directory = Directory(clock)
    clock.now_s += EXPIRY_S
    directory.announce("a", "10.0.0.1:1")
    directory.announce("b", "10.0.0.2:2")
    clock.now_s += EXPIRY_S - 1
    directory.announce("b", "10.0.0.2:2")
    assert directory.targets() == ["10.0.0.1:1", "10.0.0.2:2"]
    clock.now_s += 1
    assert directory.targets() == ["10.0.0.2:2"]


def test_a_withdrawn_server_stays_away() -> None:
    """A server that drains is no target at once, also when a late announcement arrives."""
    clock = Clock()
    directory = Directory(clock)
    clock.now_s += EXPIRY_S
    directory.announce("a", "10.0.0.1:1")
    directory.withdraw("a")
    directory.announce("a", "10.0.0.1:1")
    assert directory.targets() == []


@pytest.mark.parametrize("drains", [True, False])
def test_the_directory_forgets_servers_that_are_gone(drains: bool) -> None:
    """A directory of servers that are replaced all the time, drained or killed, does not grow."""
    clock = Clock()
    directory = Directory(clock)

    def replace(number: int) -> int:
        directory.announce(f"{number:06}", "10.0.0.1:1")
        if drains:
            directory.withdraw(f"{number:06}")
        clock.now_s += 1.0
        return len(pickle.dumps(directory))

    sizes = [replace(number) for number in range(200)]
    assert max(sizes[100:]) == max(sizes[:100])


def test_the_file_for_envoy_is_like_the_shipped_one(tmp_path: Path) -> None:
    """The file has the structure of deploy/envoy/replicas.yaml, and is moved into place."""
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    path = tmp_path / "replicas.yaml"
    path.write_text("before")
    before = path.stat().st_ino
    write_replicas(path, ["10.0.0.11:50051", "10.0.0.12:50051"])
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == shipped
    assert path.stat().st_ino != before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("replicas", "queue_s", "expected"),
    [
        (2, [], 2),
        (2, [TARGET_S, TARGET_S], 2),
        (2, [1.4 * TARGET_S, 1.4 * TARGET_S], 3),
        (3, [9.0, 9.0, 9.0], 6),
        (3, [0.0, 0.0, 0.0], 2),
        (2, [2 * TARGET_S, 0.0], 2),
    ],
)
def test_the_number_follows_the_queue_time(
    replicas: int, queue_s: list[float], expected: int
) -> None:
    """The number grows with the mean queue time, at most twofold, and shrinks by one."""
    assert wanted(replicas, queue_s) == expected


def test_the_queue_time_is_that_of_new_texts() -> None:
    """The mean covers the texts since the last question, and is 0 without any."""
    config = ServerConfig(port=0, metrics_port=0)
    engine = FakeEngine()
    with Server(config, engine.launch) as server, Client(server.target) as client:
        queue_time = QueueTime(server.metrics_target)
        assert queue_time.mean_s() == 0.0
        client.classify("good")
        assert queue_time.mean_s() > 0.0
        assert queue_time.mean_s() == 0.0
