"""Makes a vector's call and collects the results."""

import base64
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_health.v1 import health_pb2, health_pb2_grpc

from classwire.v1 import classwire_pb2, classwire_pb2_grpc

from .failure import failure_of

Json = dict[str, Any]

DEFAULT_TIMEOUT_S = 30.0
COMPRESSIONS = {"gzip": grpc.Compression.Gzip}
STUBS: dict[str, Any] = {
    "classwire.v1.ClassifyService": classwire_pb2_grpc.ClassifyServiceStub,
    "classwire.v1.ModelService": classwire_pb2_grpc.ModelServiceStub,
    "grpc.health.v1.Health": health_pb2_grpc.HealthStub,
}
METHODS: dict[str, Any] = {
    f"{service.full_name}/{method.name}": method
    for file in (classwire_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR)
    for service in file.services_by_name.values()
    for method in service.methods
}


class NotHeld(Exception):
    """A stream of `held_streams` did not start; `str()` tells which, and its status."""


def attempt(channel: grpc.Channel, vector: Json) -> Json:
    """Make the call and return the results by the keys of `expect`; `results` is a list.

    Raises NotHeld.
    """
    rpc = vector["rpc"]
    options = {
        "timeout": vector.get("timeout_s", DEFAULT_TIMEOUT_S),
        "metadata": tuple(vector.get("headers", {}).items()),
        "compression": COMPRESSIONS.get(vector.get("compression", "")),
    }
    if "request_bytes" in vector:  # bytes that no stub can send
        raw: Any = channel.unary_unary(f"/{rpc}")
        return _unary(raw.future(base64.b64decode(vector["request_bytes"]), **options), vector)
    service, _, name = rpc.partition("/")
    method, stub = METHODS[rpc], getattr(STUBS[service](channel), name)
    request_type = message_factory.GetMessageClass(method.input_type)
    if "request" in vector:
        request = ParseDict(vector["request"], request_type())
        if method.server_streaming:
            return _stream(stub(request, **options), vector)
        return _unary(stub.future(request, **options), vector)
    if any("bytes" in entry for entry in vector["requests"]):
        response_type = message_factory.GetMessageClass(method.output_type)
        stub = channel.stream_stream(f"/{rpc}", response_deserializer=response_type.FromString)
        return _stream(stub(_bytes_of(vector["requests"], request_type), **options), vector)
    requests = [ParseDict(entry["message"], request_type()) for entry in vector["requests"]]
    with _held(stub, requests[:1], vector.get("held_streams", 0)):
        return _stream(stub(iter(requests), **options), vector)


def _bytes_of(requests: Sequence[Json], request_type: Any) -> Iterator[bytes]:
    for entry in requests:
        if "bytes" in entry:
            yield base64.b64decode(entry["bytes"])
        else:
            yield ParseDict(entry["message"], request_type()).SerializeToString()


def _unary(call: Any, vector: Json) -> Json:
    if vector.get("cancel") == "at_once":
        call.cancel()
    try:
        response = call.result()
    except grpc.FutureCancelledError:
        return {"error": {"code": "CANCELLED"}}
    except grpc.RpcError:
        return {"error": failure_of(call)}
    return {"response": response if isinstance(response, bytes) else MessageToDict(response)}


def _stream(call: Any, vector: Json) -> Json:
    seen: Json = {"results": []}
    if vector.get("cancel") == "at_once":
        call.cancel()
    try:
        for message in call:
            response = MessageToDict(message)
            if "first_response" not in seen:
                seen["first_response"] = response
                if vector.get("cancel") == "after_first_response":
                    call.cancel()
            else:
                seen["results"] += response.get("results", {}).get("results", [])
    except grpc.RpcError:
        seen["error"] = failure_of(call)
    return seen


@contextmanager
def _held(stub: Any, config: Sequence[Any], count: int) -> Iterator[None]:
    """Hold `count` other streams open while the context lasts."""
    end = threading.Event()

    def requests() -> Iterator[Any]:
        yield from config
        end.wait()

    with ExitStack() as streams:
        streams.callback(end.set)
        for started in range(count):
            stream = stub(requests(), timeout=DEFAULT_TIMEOUT_S)
            streams.callback(stream.cancel)
            try:
                next(stream)
            except (grpc.RpcError, StopIteration):
                code = stream.code().name
                raise NotHeld(
                    f"held_streams: expected {count}, got {started}, then {code}"
                ) from None
        yield
