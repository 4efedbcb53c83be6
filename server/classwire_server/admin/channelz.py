"""channelz on the admin port: what gRPC's transport knows of servers, connections and calls.

grpcio's own servicer takes no field that it does not know, and so fails beside a grpcio that is
newer than itself, which tells more.
"""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf import json_format
from grpc._cython import cygrpc  # type: ignore[attr-defined]
from grpc_channelz.v1 import channelz_pb2 as pb

from ..service.handlers import parsed
from ..service.refusals import end

CHANNELZ_SERVICE: str = pb.DESCRIPTOR.services_by_name["Channelz"].full_name

Receive = Callable[[Iterator[bytes], grpc.ServicerContext], bytes]
"""The message of a call whose caller may ask."""
Query = Callable[..., bytes]
"""Asks gRPC. Gives JSON; raises ValueError where there is nothing of that id."""

_QUERIES: dict[str, tuple[Query, tuple[str, ...]]] = {
    "GetTopChannels": (cygrpc.channelz_get_top_channels, ("start_channel_id",)),
    "GetServers": (cygrpc.channelz_get_servers, ("start_server_id",)),
    "GetServer": (cygrpc.channelz_get_server, ("server_id",)),
    "GetServerSockets": (
        cygrpc.channelz_get_server_sockets,
        ("server_id", "start_socket_id", "max_results"),
    ),
    "GetChannel": (cygrpc.channelz_get_channel, ("channel_id",)),
    "GetSubchannel": (cygrpc.channelz_get_subchannel, ("subchannel_id",)),
    "GetSocket": (cygrpc.channelz_get_socket, ("socket_id",)),
}
"""By method: what it asks, with which fields of its request."""


def handlers(receive: Receive) -> grpc.GenericRpcHandler:
    """All methods of channelz."""
    methods = {name: _handler(name, *asked, receive) for name, asked in _QUERIES.items()}
    return grpc.method_handlers_generic_handler(CHANNELZ_SERVICE, methods)


def _handler(
    name: str, query: Query, fields: tuple[str, ...], receive: Receive
) -> "grpc.RpcMethodHandler[bytes, bytes]":
    request_type, response_type = (getattr(pb, f"{name}{kind}") for kind in ("Request", "Response"))

    def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        request: Any = parsed(request_type, receive(requests, context), context)
        try:
            told = query(*(getattr(request, field) for field in fields))
        except ValueError as unknown:
            context.abort(grpc.StatusCode.NOT_FOUND, str(unknown))
        try:
            response: Any = json_format.Parse(told, response_type(), ignore_unknown_fields=True)
        except Exception as error:  # whatever it is, the caller gets a status and no text of gRPC's
            end(context, error)
        answer: bytes = response.SerializeToString()
        return answer

    return grpc.stream_unary_rpc_method_handler(handle)
