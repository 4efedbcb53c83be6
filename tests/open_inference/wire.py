"""A client of the Open Inference Protocol: requests written, responses read."""

import queue
import struct
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np
from google.protobuf.message_factory import GetMessageClass

from classwire_server.open_inference import inference_pb2 as pb
from tests.contract.engines import PATIENCE_S

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


class Stub:
    """The RPCs of the service: `stub.ModelInfer(request)`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A call, with a timeout."""
        method = SERVICE.methods_by_name[name]
        make = self._channel.stream_stream if method.client_streaming else self._channel.unary_unary
        call: Any = make(
            f"/{SERVICE.full_name}/{name}",
            request_serializer=GetMessageClass(method.input_type).SerializeToString,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return lambda request, timeout=PATIENCE_S: call(request, timeout=timeout)


class Talk:
    """A stream, driven step by step; leaving the block cancels it."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        method: grpc.StreamStreamMultiCallable[bytes, bytes]
        method = channel.stream_stream(f"/{SERVICE.full_name}/ModelStreamInfer")
        self.call = method(iter(self._outbox.get, None), timeout=2 * PATIENCE_S)

    def send(self, *messages: pb.ModelInferRequest | bytes) -> None:
        """Send requests, or any bytes."""
        for message in messages:
            raw = message if isinstance(message, bytes) else message.SerializeToString()
            self._outbox.put(raw)

    def half_close(self) -> None:
        """Close the sending side."""
        self._outbox.put(None)

    def read(self) -> pb.ModelStreamInferResponse:
        """The next response."""
        return pb.ModelStreamInferResponse.FromString(next(self.call))

    def read_all(self) -> Iterator[pb.ModelStreamInferResponse]:
        """All further responses."""
        return map(pb.ModelStreamInferResponse.FromString, self.call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.call.cancel()
        self._outbox.put(None)


def request(
    *texts: str | bytes,
    model: str = "tiny",
    pairs: Sequence[str | bytes] | None = None,
    shape: Sequence[int] | None = None,
    raw: bool = True,
    **fields: Any,
) -> pb.ModelInferRequest:
    """A request for texts, of shape [n,1] by default."""
    message = pb.ModelInferRequest(model_name=model, **fields)
    for name, column in (("text", texts), ("text_pair", pairs)):
        if column is None:
            continue
        tensor = message.inputs.add(
            name=name, datatype="BYTES", shape=[len(column), 1] if shape is None else shape
        )
        encoded = [text.encode() if isinstance(text, str) else text for text in column]
        if raw:
            message.raw_input_contents.append(raw_bytes(*encoded))
        else:
            tensor.contents.bytes_contents.extend(encoded)
    return message


def raw_bytes(*texts: bytes) -> bytes:
    """A BYTES tensor as its bytes."""
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def output(response: pb.ModelInferResponse, name: str) -> Any:
    """An output as an array, of bytes objects for BYTES."""
    place = [tensor.name for tensor in response.outputs].index(name)
    tensor, raw = response.outputs[place], response.raw_output_contents[place]
    if tensor.datatype != "BYTES":
        kind = {"FP32": "<f4", "INT32": "<i4"}[tensor.datatype]
        return np.frombuffer(raw, kind).reshape(tensor.shape)
    texts = []
    while raw:
        (size,) = struct.unpack_from("<I", raw)
        texts.append(raw[4 : 4 + size])
        raw = raw[4 + size :]
    return np.array(texts, dtype=object).reshape(tensor.shape)
