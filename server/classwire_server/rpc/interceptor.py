"""Handlers that wrap other handlers."""

from collections.abc import Callable
from typing import Any

import grpc

Handler = Any
"""A grpc.RpcMethodHandler, whose attributes grpcio's types do not know."""
Behavior = Callable[..., Any]
"""What a handler does with a request, or an iterator of them, and a context."""


def around(handler: Handler, wrap: Callable[[Behavior], Behavior]) -> Handler:
    """A handler of the same kind as `handler`, whose behavior is wrapped."""
    kinds = [
        "stream" if streaming else "unary"
        for streaming in (handler.request_streaming, handler.response_streaming)
    ]
    behavior = getattr(handler, "_".join(kinds))
    wrapped: Any = wrap(behavior)
    vars(wrapped).update(vars(behavior))  # keeps `experimental_non_blocking`
    make = getattr(grpc, f"{'_'.join(kinds)}_rpc_method_handler")
    return make(wrapped, handler.request_deserializer, handler.response_serializer)
