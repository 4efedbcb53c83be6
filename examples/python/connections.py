"""Who is connected to a server that serves channelz: connections.py HOST:PORT, of its admin port.

Prints each gRPC server of the process, and below it each of its connections. Needs grpcio-channelz,
which comes with classwire-server.
"""

import sys
from typing import Any

import grpc
from grpc_channelz.v1 import channelz_pb2 as pb
from grpc_channelz.v1.channelz_pb2_grpc import ChannelzStub


def main() -> None:
    """Print them as they are at this moment."""
    (target,) = sys.argv[1:]
    make_stub: Any = ChannelzStub  # which has no types
    with grpc.insecure_channel(target) as channel:
        channelz = make_stub(channel)
        for server in channelz.GetServers(pb.GetServersRequest(), timeout=5).server:
            server_id, calls = server.ref.server_id, server.data
            print(f"server {server_id}: calls {calls.calls_started}, failed {calls.calls_failed}")
            of_server = pb.GetServerSocketsRequest(server_id=server_id)
            for ref in channelz.GetServerSockets(of_server, timeout=5).socket_ref:
                by_id = pb.GetSocketRequest(socket_id=ref.socket_id)
                try:
                    seen = channelz.GetSocket(by_id, timeout=5).socket.data
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:
                        raise
                    continue  # it has been closed meanwhile
                messages = f"messages in {seen.messages_received}, out {seen.messages_sent}"
                print(f"  {ref.name}  calls {seen.streams_started}, {messages}")


if __name__ == "__main__":
    main()
