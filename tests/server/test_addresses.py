"""Addresses that cannot be listened on are refused in words, before gRPC is asked."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ModelServiceStub
from classwire_server.addresses import check_port, check_unix_socket
from classwire_server.errors import StartError
from classwire_server.lifecycle import Server


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that something listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


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
