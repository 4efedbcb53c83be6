"""The contract's page holds what the contract states."""

import re

from classwire.v1 import classwire_pb2 as pb
from scripts.contract_page import PAGE, page

TEXT = PAGE.read_text(encoding="utf-8")


def test_page_is_up_to_date() -> None:
    """docs/reference/contract.md is generated from the contract's comments."""
    assert page() == TEXT, "run: python -m scripts.contract_page"


def test_nothing_of_the_contract_is_left_out() -> None:
    """The page has every service, method, message, field, enum and value."""
    contract = pb.DESCRIPTOR
    for kind in (
        contract.services_by_name,
        contract.message_types_by_name,
        contract.enum_types_by_name,
    ):
        assert all(f"\n### {name}\n" in TEXT for name in kind)
    names = [
        *(m.name for service in contract.services_by_name.values() for m in service.methods),
        *(f.name for message in contract.message_types_by_name.values() for f in message.fields),
        *(value.name for enum in contract.enum_types_by_name.values() for value in enum.values),
    ]
    assert not [name for name in names if f"| `{name}` |" not in TEXT]


def test_links_lead_to_headings() -> None:
    """Each link within the page leads to a heading."""
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
    assert len(anchors) == len(headings)
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors
