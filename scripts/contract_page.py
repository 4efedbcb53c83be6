"""Write the tables of docs/reference/contract.md from the contract's definitions and comments.

python -m scripts.contract_page
"""

from collections.abc import Iterable, Iterator, Sequence

from google.protobuf.descriptor_pb2 import MethodDescriptorProto

from .contract import PACKAGE, Contract, link, read
from .pages import ROOT, between

PAGE = ROOT / "docs" / "reference" / "contract.md"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(cells)} |".replace("\n\n", " ") for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def index(contract: Contract) -> str:
    """Return a table of every message and enum by the first method that uses it."""
    return table(
        ("method", "messages and enums that no method above has"),
        ((f"`{method}`", ", ".join(map(link, names))) for method, names in contract.first_met()),
    )


def services(contract: Contract) -> Iterator[str]:
    """Yield Markdown for each service: its comment and its methods."""
    for number, service in enumerate(contract.file.service):
        yield f"### {service.name}\n\n{contract.comment(service.name, 6, number)}"
        yield table(
            ("method", "request", "response", ""),
            (
                (
                    f"`{method.name}`",
                    *_shape(method),
                    contract.comment(service.name, 6, number, 2, place),
                )
                for place, method in enumerate(service.method)
            ),
        )


def messages(contract: Contract) -> Iterator[str]:
    """Yield Markdown for each message: its comment and its fields by number."""
    for number, message in enumerate(contract.file.message_type):
        yield f"### {message.name}\n\n{contract.comment(message.name, 4, number)}"
        if message.field:
            yield table(
                ("#", "field", "type", ""),
                (
                    (
                        str(field.number),
                        f"`{field.name}`",
                        contract.type(field, message),
                        contract.comment(message.name, 4, number, 2, place),
                    )
                    for place, field in enumerate(message.field)
                ),
            )


def enums(contract: Contract) -> Iterator[str]:
    """Yield Markdown for each enum: its comment and its values."""
    for number, enum in enumerate(contract.file.enum_type):
        yield f"### {enum.name}\n\n{contract.comment(enum.name, 5, number)}"
        yield table(
            ("#", "value", ""),
            (
                (
                    str(value.number),
                    f"`{value.name}`",
                    contract.comment(enum.name, 5, number, 2, place),
                )
                for place, value in enumerate(enum.value)
            ),
        )


def page() -> str:
    """Return the page with current tables."""
    contract = read()
    parts = {
        "index": index(contract),
        "services": "\n\n".join(services(contract)),
        "messages": "\n\n".join(messages(contract)),
        "enums": "\n\n".join(enums(contract)),
    }
    written = PAGE.read_text(encoding="utf-8")
    for name, body in parts.items():
        begin = f"<!-- {name}: written by scripts.contract_page -->"
        written = between(written, begin, f"<!-- /{name} -->", body)
    return written


def _shape(method: MethodDescriptorProto) -> tuple[str, str]:
    request, response = (
        link(name.removeprefix(PACKAGE)) for name in (method.input_type, method.output_type)
    )
    return (
        f"stream of {request}" if method.client_streaming else request,
        f"stream of {response}" if method.server_streaming else response,
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
