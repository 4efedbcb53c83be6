"""What services the port has, told to tools that know none of them."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from classwire_server.gate import Gate

from .call import parsed
from .call_pool import CallExecutor, CallPool, Entrance
from .receive_timeout import ReceiveTimeout

REFLECTION_SERVICE: str = reflection.SERVICE_NAME
THREADS = 8
MAX_WAITING = 16
PATIENCE_S = 10.0
"""How long a stream may last."""


def calls(
    gate: Gate, pool: CallPool, executor: CallExecutor, services: Iterable[str]
) -> grpc.GenericRpcHandler:
    """The handler of reflection of these services. It has a pool of its own, since each of its
    streams holds a thread while it is open. Tools begin it anew where it has ended.
    """
    received = ReceiveTimeout(PATIENCE_S)
    servicer = reflection.ReflectionServicer((*services, REFLECTION_SERVICE))

    def info(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        kind = reflection_pb2.ServerReflectionRequest
        messages = (parsed(kind, raw, context) for raw in received.messages(requests, context))
        return servicer.ServerReflectionInfo(messages, context)

    handler: Any = grpc.stream_stream_rpc_method_handler(
        info, response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString
    )
    service = grpc.method_handlers_generic_handler(
        REFLECTION_SERVICE, {"ServerReflectionInfo": handler}
    )
    return Entrance([service], gate, pool, executor)
