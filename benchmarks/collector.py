"""What traces are sent to when they are measured: it takes them and forgets them."""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    """A collector by OTLP over gRPC, until the end of the block; `bytes` is what came."""

    def __init__(self) -> None:
        self.bytes = 0
        self._server = grpc.server(ThreadPoolExecutor(1))
        take: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(self._take)
        handlers = {"Export": take}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, handlers),)
        )
        self.address = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait()

    def _take(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.bytes += len(request)
        return b""
