"""If the server cannot listen on an address, it ends with one line that names the address."""

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
    """A port on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_port_in_use(taken: int) -> None:
    """The error names the port and the problem."""
    with pytest.raises(StartError, match=f"127.0.0.1:{taken}: address already in use"):
        check_port("127.0.0.1", taken)


def test_a_free_port(taken: int) -> None:
    """Port 0 and a closed port are free. The check does not keep the port."""
    check_port("127.0.0.1", 0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    check_port("127.0.0.1", free)
    check_port("127.0.0.1", free)


def test_a_host_of_another_machine() -> None:
    """The server cannot listen on another machine's address, or on an unknown name."""
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
    """The second service cannot listen, and the error names its address."""
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
    """Two services may listen on the same port of two addresses."""
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


def test_the_socket_of_a_running_server(
    checkpoint: Callable[..., Path], serve: Callable[..., Server], tmp_path: Path
) -> None:
    """A second server does not take over the socket of a running one."""
    path = str(tmp_path / "classwire.sock")
    serve(model=(str(checkpoint("bert")),), unix_socket=path)
    with pytest.raises(StartError, match="another server listens there"):
        serve(model=(str(checkpoint("bert")),), unix_socket=path)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        ModelServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=30)


def test_a_stale_socket(
    checkpoint: Callable[..., Path], serve: Callable[..., Server], tmp_path: Path
) -> None:
    """The server replaces the socket of a server that has ended, but keeps any other file."""
    path = tmp_path / "classwire.sock"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    server = serve(model=(str(checkpoint("bert")),), unix_socket=str(path), host="")
    assert server.target == f"unix:{path}"
    with grpc.insecure_channel(server.target) as channel:
        ModelServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), timeout=30)
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(StartError, match="not a socket"):
        check_unix_socket(str(file))
    assert file.read_text() == "mine"
