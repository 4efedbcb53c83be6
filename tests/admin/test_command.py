"""`classwire admin` against a server."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from classwire import Client, PoisonInputError
from classwire_server.server import Server
from tests.cli.conftest import Run, classwire  # noqa: F401
from tests.contract.engines import FakeEngine, eventually


def test_the_commands(
    serve: Callable[..., Server],
    classwire: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    red: Path,
    blue: Path,
) -> None:
    """Each command prints its result, and writes the stages to standard error."""
    engines: list[FakeEngine] = []

    def launch(*how: object) -> object:
        engines.append(FakeEngine((0, 1)))
        return engines[-1].launch(*how)  # type: ignore[arg-type]

    server = serve(launch, model=(f"m={red}",), admin_port=0, memory_budget_mb=1_000)
    monkeypatch.setenv("CLASSWIRE_ADMIN_TARGET", server.admin_target)

    loaded = classwire("admin", "load", f"other={blue}")
    assert loaded.code == 0, loaded
    assert loaded.out.startswith("other: BertForSequenceClassification, 2 labels, ")
    assert loaded.err == "loading\n"
    assert classwire("admin", "default", "other").out == "other is the default\n"
    assert classwire("admin", "reload", "m", str(blue)).err == "loading\nfinishing\n"

    lines = classwire("admin", "status").out.splitlines()
    assert lines[0] == "serving: 0 calls in flight, 0 of them streams"
    assert lines[1] == "memory: 0 of 1000 MB"
    assert [line.split()[:3] for line in lines[3:]] == [
        ["other", "(default)", "ready"],
        ["m", "ready", "0"],
    ]
    status = json.loads(classwire("admin", "status", "--json").out)
    assert [each["model"]["labels"] for each in status["models"]] == [["blue", "not blue"]] * 2
    assert [each["calls_in_flight"] for each in status["models"]] == [0, 0]

    assert classwire("admin", "unload", "other", "--default", "m").out == "other is unloaded\n"
    assert classwire("admin", "drain").out.startswith("draining: 0 calls in flight")
    assert eventually(lambda: all(engine.closed for engine in engines))


def test_poison(
    serve: Callable[..., Server],
    classwire: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    red: Path,
) -> None:
    """`admin poison` shows a row for each model with such texts, and `--clear` their number."""
    server = serve(FakeEngine((0, 1)).launch, model=(f"m={red}",), admin_port=0)
    monkeypatch.setenv("CLASSWIRE_ADMIN_TARGET", server.admin_target)
    assert classwire("admin", "poison").out == "no poison texts\n"
    with Client(server.target) as client, pytest.raises(PoisonInputError):
        client.classify("a deadly secret")

    for arguments in ((), ("m",)):
        shown = classwire("admin", "poison", *arguments).out
        assert "secret" not in shown
        assert shown.splitlines()[-1].split()[:2] == ["m", "1"]
    assert classwire("admin", "poison", "x").code == 2
    assert classwire("admin", "poison", "--clear").out == "1 poison text cleared\n"
    assert classwire("admin", "poison", "m", "--clear").out == "0 poison texts cleared\n"
    assert classwire("admin", "poison").out == "no poison texts\n"


def test_errors_are_one_line(
    serve: Callable[..., Server],
    classwire: Run,  # noqa: F811
    red: Path,
    unanswered_admin: str,
) -> None:
    """The exit code is 2 for wrong arguments, and 1 for all other errors."""
    server = serve(FakeEngine((0, 1)).launch, model=(f"m={red}",), admin_port=0)

    def ended(*args: str, target: str = server.admin_target) -> tuple[int, str]:
        it = classwire("admin", *args, "--target", target)
        return it.code, it.err.splitlines()[-1]

    assert ended("load", f"m={red}") == (
        1,
        "classwire: there is a model m; it can be reloaded",
    )
    assert ended("unload", "m") == (
        1,
        "classwire: m is the default model: name another as new_default (--default NAME)",
    )
    for command in ("reload", "unload", "default"):
        assert ended(command, "x") == (2, "classwire: no model of that name; there is m")
    assert ended("load", f"={red}")[0] == 2
    assert ended("load", "/no/such/folder") == (1, "classwire: /no/such/folder: no such folder")
    assert ended("status", target=unanswered_admin) == (
        1,
        f"classwire: no admin service answers at {unanswered_admin}; "
        "`classwire serve --admin-port 50052` has one",
    )
