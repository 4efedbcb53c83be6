"""The contract as a descriptor with comments, and its comments as Markdown."""

import re
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import grpc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from grpc_tools import protoc  # type: ignore[import-untyped]

PROTOS = Path(__file__).parents[1] / "protos"
FILE = "classwire/v1/classwire.proto"
PACKAGE = ".classwire.v1."
CODE = re.compile(
    r"""
    (?P<reason> [A-Z_]+/[A-Z_]+)            # INVALID_ARGUMENT/BAD_ID
    | (?P<name> [A-Z]\w*(?:\.[a-z_]+)?)     # ModelLimits.max_text_bytes, PRIORITY_BULK
    | "(?P<value> [^"]*)"                   # "cpu"
    | \[a-z0-9\._-\]\{1,63\}               # the pattern of a name
    | _?[a-z0-9]+(?:[._]\w+)+\b            # options.include_tokens, google.rpc.Code
    """,
    re.VERBOSE,
)


class Contract:
    """The contract's descriptor, with comments and types rendered as Markdown."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self.file = file
        self._comments = {
            tuple(place.path): place.leading_comments for place in file.source_code_info.location
        }
        self._values = {value.name: enum.name for enum in file.enum_type for value in enum.value}
        self._types = {m.name for m in file.message_type} | {e.name for e in file.enum_type}
        self._methods = {
            method.name: service.name for service in file.service for method in service.method
        }

    def comment(self, owner: str, *path: int) -> str:
        """Return the comment at a descriptor path, with links to headings other than `owner`."""
        paragraphs = self._comments[path].strip().split("\n\n")
        return "\n\n".join(self._linked(" ".join(p.split()), owner) for p in paragraphs)

    def type(self, field: FieldDescriptorProto, message: DescriptorProto) -> str:
        """Return a field's type with links: repeated, optional, map or member of a oneof."""
        entry = next(
            (n for n in message.nested_type if field.type_name.endswith(f".{n.name}")), None
        )
        if entry is not None:
            key, value = (self.type(each, entry) for each in entry.field)
            return f"map of {key} to {value}"
        name = field.type_name.removeprefix(PACKAGE)
        if field.type_name.startswith("."):
            shown = link(name) if name in self._types else name.removeprefix(".google.protobuf.")
        else:
            shown = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"repeated {shown}"
        if field.proto3_optional:
            return f"optional {shown}"
        if field.HasField("oneof_index"):
            return f"{shown}, one of `{message.oneof_decl[field.oneof_index].name}`"
        return shown

    def first_met(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each method and the types that it uses first, request and response first."""
        members = {
            each.name: [
                field.type_name.removeprefix(PACKAGE)
                for nested in (each, *each.nested_type)
                for field in nested.field
            ]
            for each in self.file.message_type
        }
        met: set[str] = set()
        for method in (method for service in self.file.service for method in service.method):
            brought = [
                name.removeprefix(PACKAGE) for name in (method.input_type, method.output_type)
            ]
            for name in brought:  # grows during the loop
                inner = members.get(name, [])
                brought += [
                    n for n in dict.fromkeys(inner) if n in self._types and n not in brought
                ]
            yield method.name, [name for name in brought if name not in met]
            met.update(brought)

    def _linked(self, text: str, owner: str) -> str:
        def marked(match: re.Match[str]) -> str:
            if match["reason"]:
                return link(match[0], "Errors")
            if not match["name"]:
                return f"`{match['value'] or match[0]}`"
            name, _, member = match[0].partition(".")
            heading = self._values.get(name) or self._methods.get(name)
            # A type's name of one word may be an ordinary word; with a member it is the type.
            if name in self._types and (member or re.search("[a-z][A-Z]", name)):
                heading = name
            if heading and heading != owner:
                return link(match[0], heading)
            is_code = heading or "_" in name or name in grpc.StatusCode.__members__
            return f"`{match[0]}`" if is_code else match[0]

        return CODE.sub(marked, text)


def link(shown: str, to: str = "") -> str:
    """Return a link to a heading; services, messages and enums have headings of their names."""
    return f"[`{shown}`](#{(to or shown).lower()})"


def read() -> Contract:
    """Compile the contract in protos/."""
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "set"
        failed = protoc.main(
            [
                "protoc",
                f"-I{PROTOS}",
                f"-I{files('grpc_tools') / '_proto'}",
                "--include_source_info",
                f"--descriptor_set_out={described}",
                FILE,
            ]
        )
        if failed:
            raise SystemExit(f"protoc cannot compile {FILE}")
        (file,) = FileDescriptorSet.FromString(described.read_bytes()).file
    return Contract(file)
