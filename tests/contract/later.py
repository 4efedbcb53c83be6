"""A later contract: one more field in every message, one more value in every enum."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from classwire.v1 import classwire_pb2 as pb

LATER = 1_000
"""The number of each new field and value."""


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto()
    pb.DESCRIPTOR.CopyToProto(file)
    for enum in file.enum_type:
        enum.value.add(name=f"{enum.name.upper()}_LATER", number=LATER)
    for message in file.message_type:
        message.field.add(
            name="later",
            number=LATER,
            type=FieldDescriptor.TYPE_STRING,
            label=FieldDescriptor.LABEL_OPTIONAL,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(duration_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return pool


_POOL = _pool()


def later(message: Message, *, enums: bool = False) -> bytes:
    """The bytes of a message with every new field set, and with `enums` every enum's new value."""
    kind = _POOL.FindMessageTypeByName(message.DESCRIPTOR.full_name)
    new = message_factory.GetMessageClass(kind).FromString(message.SerializeToString())
    _fill(new, enums)
    return new.SerializeToString()


def _fill(message: Any, enums: bool) -> None:
    if message.DESCRIPTOR.file.package != pb.DESCRIPTOR.package:
        return
    for field, value in message.ListFields():
        if field.enum_type is not None and enums:
            setattr(message, field.name, LATER)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in [value] if isinstance(value, Message) else value:
                _fill(each, enums)
    message.later = "later"


class Forwarding(grpc.GenericRpcHandler):
    """Forwards calls to a server, and adds the new fields and values to its answers."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method of the contract."""
        method: Any = details.method
        service, name = method.strip("/").split("/")
        contract = _POOL.FindServiceByName(service).methods_by_name[name]
        answers: Any = getattr(pb, contract.output_type.name)
        call: Any = self._channel.stream_stream(method)

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            raws = call(requests)
            context.add_callback(raws.cancel)
            for raw in raws:
                yield later(answers.FromString(raw), enums=True)

        return grpc.stream_stream_rpc_method_handler(handle)


@contextmanager
def later_server(channel: grpc.Channel) -> Iterator[str]:
    """The address of a server of the later contract, which forwards to a channel."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Forwarding(channel),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
