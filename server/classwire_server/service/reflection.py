"""What services the port has, told to tools that know none of them."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from .handlers import parsed
from .reception import Reception

REFLECTION_SERVICE: str = reflection.SERVICE_NAME
THREADS = 8
PATIENCE_S = 10.0
"""How long a stream may be silent, or take no answer."""


def register(server: grpc.Server, pool: ThreadPoolExecutor, services: Iterable[str]) -> None:
    """Register reflection of these services on a pool of its own: each of its streams holds a
    thread while it is open, but may be silent only for so long. Tools begin it anew where it ended.
    """
    reception = Reception(PATIENCE_S)
    servicer = reflection.ReflectionServicer((*services, REFLECTION_SERVICE))

    def info(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        kind = reflection_pb2.ServerReflectionRequest
        messages = (parsed(kind, raw, context) for raw in reception.messages(requests, context))
        return servicer.ServerReflectionInfo(messages, context)

    info.experimental_thread_pool = pool  # type: ignore[attr-defined]
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                REFLECTION_SERVICE,
                {
                    "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                        info,
                        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
                    )
                },
            ),
        )
    )
