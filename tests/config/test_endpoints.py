"""An address that the server cannot listen on ends the start with one line that names it."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ModelServiceStub
from classwire_server.config.endpoints import check_port, check_unix_socket
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import StartError
from classwire_server.server import Server


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_port_in_use(taken: int) -> None:
    """The port is named, and what is wrong with it."""
    with pytest.raises(StartError, match=f"127.0.0.1:{taken}: address already in use"):
        check_port("127.0.0.1", taken)


def test_a_port_that_was_given_back(taken: int) -> None:
    """Port 0, and a port that nobody listens on any more, are free; checking does not take them."""
    check_port("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    check_port("127.0.0.1", free)
    check_port("127.0.0.1", free)


def test_a_host_that_is_not_ours() -> None:
    """An address of another machine, or a name that there is not, cannot be listened on."""
    with pytest.raises(StartError, match=r"cannot listen on 192\.0\.2\.1:0: "):
        check_port("192.0.2.1", 0)
    with pytest.raises(StartError, match="cannot listen on no such host:0: "):
        check_port("no such host", 0)


@pytest.mark.parametrize("service", ["metrics", "admin"])
@pytest.mark.parametrize(
    ("host", "other"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")],
)
def test_two_services_at_one_address(
    free_port: int, tmp_path: Path, service: str, host: str, other: str
) -> None:
    """The second one to listen ends the start, and the line names its address."""
    second: dict[str, Any] = {f"{service}_host": other, f"{service}_port": free_port}
    config = ServerConfig(
        host=host, port=free_port, insecure=True, model=(f"gone={tmp_path}",), **second
    )
    server = Server(config)
    try:
        with pytest.raises(StartError) as failure:
            server.listen()
    finally:
        server.stop(0)
    assert str(failure.value) == f"cannot listen on {other}:{free_port}: address already in use"


def test_services_share_a_port_number(free_port: int, tmp_path: Path) -> None:
    """The server listens at one port of two addresses."""
    config = ServerConfig(
        port=free_port,
        metrics_host="127.0.0.2",
        metrics_port=free_port,
        model=(f"gone={tmp_path}",),
    )
    server = Server(config)
    try:
        server.listen()
        assert server.metrics_target == f"127.0.0.2:{free_port}"
    finally:
        server.stop(0)


def test_a_socket_that_a_server_answers_at(
    checkpoint: Callable[..., Path], serve: Callable[..., Server], tmp_path: Path
) -> None:
    """The socket of a running server is not taken from it."""
    path = str(tmp_path / "classwire.sock")
    serve(model=(str(checkpoint("bert")),), unix_socket=path)
    with pytest.raises(StartError, match="a server answers there already"):
        serve(model=(str(checkpoint("bert")),), unix_socket=path)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        ModelServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=30)


def test_a_socket_that_was_left_behind(
    checkpoint: Callable[..., Path], serve: Callable[..., Server], tmp_path: Path
) -> None:
    """The socket of a server that is gone is replaced; a file that is no socket is kept."""
    path = tmp_path / "classwire.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    server = serve(model=(str(checkpoint("bert")),), unix_socket=str(path), host="")
    assert server.target == f"unix:{path}"
    with grpc.insecure_channel(server.target) as channel:
        ModelServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=30)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StartError, match="it is no socket"):
        check_unix_socket(str(file))
    assert file.read_text() == "mine"
