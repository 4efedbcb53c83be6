"""Output and exit codes of the Python runner when it can't run all vectors."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from conformance.python.runner import __main__ as runner

NO_SERVER = "127.0.0.1:1"


@pytest.fixture
def target() -> Iterator[str]:
    """Return the target of a server without methods."""
    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()


@pytest.mark.parametrize(
    ("servers", "why"),
    [
        ((f"fautly={NO_SERVER}",), "fautly: no vectors are for a server of that name\n"),
        ((f"faulty={NO_SERVER}",), "faulty: no answer\n"),
        ((), "no server is named\n"),
    ],
    ids=["misspelt", "down", "none"],
)
def test_a_runner_that_can_run_nothing(
    vectors: Mapping[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    servers: tuple[str, ...],
    why: str,
) -> None:
    """A runner that can run nothing exits with 2 and one line, even if all calls would be
    cancelled.
    """
    monkeypatch.setattr(runner, "READY_S", 0)
    chosen = [
        {**group, "vectors": [one for one in group["vectors"] if one.get("cancel") == "at_once"]}
        for group in vectors["groups"]
    ]
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({**vectors, "groups": chosen}), "utf-8")

    assert runner.main(str(file), *servers) == 2

    said = capsys.readouterr()
    assert (said.out, said.err) == ("", why)


def test_held_streams_that_do_not_start(
    vectors: Mapping[str, Any], target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When held streams do not start, their vector fails, and the runner runs the others."""
    [group] = [
        group for group in vectors["groups"] if any("held_streams" in v for v in group["vectors"])
    ]
    file = tmp_path / "vectors.json"
    file.write_text(json.dumps({**vectors, "groups": [group]}), "utf-8")

    assert runner.main(str(file), f"{group['server']}={target}") == 1

    said = capsys.readouterr().out.splitlines()
    [line] = [line for line in said if "held_streams" in line]
    assert line.endswith("held_streams: expected 7, got 0, then UNIMPLEMENTED")
    assert said[-1] == f"0 passed, {len(group['vectors'])} failed"
