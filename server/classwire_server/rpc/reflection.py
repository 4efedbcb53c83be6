"""The reflection service: tools without the .proto files get the services of the port."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from classwire_server.gate import Gate

from .call import parsed
from .call_executor import AdmittingServices, CallExecutor
from .call_pool import CallPool
from .receive_timeout import ReceiveTimeout

REFLECTION_SERVICE: str = reflection.SERVICE_NAME
THREADS = 8
MAX_WAITING = 16
STREAM_TIMEOUT_S = 10.0
"""Maximum duration of a stream."""


def calls(
    gate: Gate, pool: CallPool, executor: CallExecutor, services: Iterable[str]
) -> grpc.GenericRpcHandler:
    """The handler of reflection, which lists `services` and itself.

    `pool` is its own, since each open stream holds a thread. Tools reopen a stream that has ended.
    """
    received = ReceiveTimeout(STREAM_TIMEOUT_S)
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
    return AdmittingServices([service], gate, pool, executor)
