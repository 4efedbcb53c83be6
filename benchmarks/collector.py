"""A trace collector for measurements: it accepts traces and discards them.

python -m benchmarks.collector
"""

from concurrent.futures import ThreadPoolExecutor

import grpc

_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


def _take(request: bytes, context: grpc.ServicerContext) -> bytes:
    return b""


def main() -> None:
    """Serve until the process ends."""
    server = grpc.server(ThreadPoolExecutor(1))
    take: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_take)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_SERVICE, {"Export": take}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"listening on 127.0.0.1:{port}\nserving", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
