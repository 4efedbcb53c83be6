"""What channelz tells of the servers of this process, in short."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
from grpc_channelz.v1 import channelz_pb2 as pb
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzStub


class Connection(NamedTuple):
    """A connection that a server has, with the server's id."""

    server_id: int
    socket: pb.Socket


class Transport:
    """Asks channelz on a channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        stub: Any = ChannelzStub
        self.stub: Any = stub(channel)

    def connections(self) -> Iterator[Connection]:
        """All connections of servers; those of other tests may be gone while they are asked for."""
        for server in self.stub.GetServers(pb.GetServersRequest()).server:
            server_id = server.ref.server_id
            refs: Any = ()
            with _or_gone():
                request = pb.GetServerSocketsRequest(server_id=server_id)
                refs = self.stub.GetServerSockets(request).socket_ref
            for ref in refs:
                with _or_gone():
                    yield Connection(server_id, self.socket(ref.socket_id))

    def to(self, port: int) -> list[Connection]:
        """The connections to a port of ours."""
        return [each for each in self.connections() if local_port(each.socket) == port]

    def of(self, port: int) -> list[Connection]:
        """The connections of clients with this port."""
        return [each for each in self.connections() if remote_port(each.socket) == port]

    def socket(self, socket_id: int) -> pb.Socket:
        """GetSocket."""
        socket: pb.Socket = self.stub.GetSocket(pb.GetSocketRequest(socket_id=socket_id)).socket
        return socket


def local_port(socket: pb.Socket) -> int:
    """The port at our end."""
    return socket.local.tcpip_address.port


def remote_port(socket: pb.Socket) -> int:
    """The port at the other end."""
    return socket.remote.tcpip_address.port


@contextmanager
def _or_gone() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
