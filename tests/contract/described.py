"""The contract of the installed client, a line for each name that callers and servers share.

    python tests/contract/described.py

prints it. Imports only what every version of the client has, so that it describes old ones too.
"""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from classwire.admin.v1 import admin_pb2
from classwire.v1 import classwire_pb2


def described() -> Iterator[str]:
    """Yield a line for each message, field, enum value and RPC, with all that the wire and
    generated code need of it.
    """
    for module in (classwire_pb2, admin_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        for message in file.message_type:
            yield from _message(message, file.package)
        for enum in file.enum_type:
            yield from _enum(enum, file.package)
        for service in file.service:
            for method in service.method:
                received = ("", "stream ")[method.client_streaming] + method.input_type
                sent = ("", "stream ")[method.server_streaming] + method.output_type
                name = f"{file.package}.{service.name}/{method.name}"
                yield f"rpc {name} ({received}) returns ({sent})"


def _message(message: DescriptorProto, owner: str) -> Iterator[str]:
    name = f"{owner}.{message.name}"
    yield f"message {name}"
    for field in message.field:
        yield f"field {name}.{field.name} = {field.number}, {_type(field, message)}"
    for nested in message.nested_type:
        yield from _message(nested, name)
    for enum in message.enum_type:
        yield from _enum(enum, name)


def _enum(enum: EnumDescriptorProto, owner: str) -> Iterator[str]:
    for value in enum.value:
        yield f"value {owner}.{enum.name}.{value.name} = {value.number}"


def _type(field: FieldDescriptorProto, message: DescriptorProto) -> str:
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    words = [label, kind, field.type_name]
    if field.HasField("oneof_index"):  # an optional field is in a oneof of its own
        words.append(f"in {message.oneof_decl[field.oneof_index].name}")
    return " ".join(filter(None, words))


if __name__ == "__main__":
    print("\n".join(described()))
