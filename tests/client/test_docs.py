"""The client's pages are true: their code runs, and they list every class, reason and method."""

import re
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

import classwire
from classwire import Client, Reason, errors
from classwire.v1 import classwire_pb2 as pb

DOCS = Path(__file__).parents[2] / "docs"


def page(name: str) -> str:
    """Return the text of a page."""
    return (DOCS / name).read_text()


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_code_runs(index: int, target: str) -> None:
    """Each example of the Python page runs against a real server; other tests run the files
    shown.
    """
    own = re.sub(
        r"<!-- file: .*?<!-- /file -->", "", page("guides/clients/python.md"), flags=re.DOTALL
    )
    blocks = re.findall(r"```python\n(.*?)```", own, re.DOTALL)
    assert len(blocks) == 3
    exec(compile(blocks[index].replace("127.0.0.1:50051", target), "python.md", "exec"), {})


@pytest.mark.parametrize(
    ("name", "count", "server"),
    [
        ("guides/long-texts.md", 1, "target"),
        ("guides/ranking.md", 2, "pairs_target"),
        ("guides/zero-shot.md", 2, "pairs_target"),
    ],
)
def test_the_code_of_the_guides_runs(
    name: str, count: int, server: str, request: pytest.FixtureRequest
) -> None:
    """Each example of these guides runs against a real server, and prints its answers."""
    blocks = re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)
    assert len(blocks) == count
    for block in blocks:
        target: str = request.getfixturevalue(server)
        exec(compile(block.replace("127.0.0.1:50051", target), name, "exec"), {})


def test_every_error_is_listed_with_its_code_and_reasons() -> None:
    """The table has a row for each error class, and each reason once."""
    rows = re.findall(
        r"^\| `(\w+)`[^|]*\| ([^|]*)\| ([^|]*)\|", page("guides/clients/python.md"), re.M
    )
    table = {name: (code, reasons) for name, code, reasons in rows}
    for name in errors.__all__:
        if name != "ClasswireError":
            assert getattr(classwire, name).code.name in table[name][0]
    listed = re.findall(
        r"\b[A-Z]+(?:_[A-Z]+)*\b", " ".join(reasons for _, reasons in table.values())
    )
    assert sorted(listed) == sorted(Reason)


def test_every_method_is_named() -> None:
    """The Python page names every method of the client."""
    text = page("guides/clients/python.md")
    methods = [name for name in vars(Client) if not name.startswith("_") and name != "close"]
    assert all(f"`{name}`" in text for name in methods)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("start/quickstart.md", "grpcurl -plaintext -emit-defaults"),
        ("guides/clients/node.md", "defaults: true"),
        ("guides/clients/go.md", "EmitUnpopulated: true"),
        ("guides/clients/java.md", "includingDefaultValueFields()"),
        ("guides/clients/cpp.md", "always_print_primitive_fields"),
        ("guides/clients/ruby.md", "emit_defaults: true"),
        ("guides/clients/README.md", "always_print_fields_with_no_presence=True"),
    ],
)
def test_json_has_all_fields_with_an_option(name: str, option: str) -> None:
    """Each page with JSON names the option without which a label with the id 0 has no id."""
    assert option in page(name)


def test_pythons_json_has_all_fields_with_an_option() -> None:
    """That of Python's protobuf writes a `label_id` of 0."""
    score = pb.LabelScore(label="a")
    assert MessageToDict(score) == {"label": "a"}
    full = MessageToDict(score, always_print_fields_with_no_presence=True)
    assert full == {"label": "a", "labelId": 0, "score": 0.0}
