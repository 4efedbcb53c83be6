"""What `make gpu-wheels` collects, and what `make gpu` checks before it starts."""

import importlib.metadata
import sys
from pathlib import Path

import pytest

from scripts import gpu
from scripts.dependencies import OWN, needs
from scripts.gpu_wheels import FOR_TESTS, ON_THE_MACHINE, requirements, wanted
from scripts.locked import LOCK


def test_everything_but_what_torch_and_transformers_bring() -> None:
    """Each direct requirement of client and server is collected, or comes with torch and
    transformers, whose other needs are not collected.
    """
    collected = set(wanted())
    direct = {name for own in OWN for name in needs(own)} - set(OWN)
    assert direct - collected == set(ON_THE_MACHINE)
    assert {"grpcio", "protobuf", "cryptography", *FOR_TESTS} <= collected
    assert collected.isdisjoint({"torch", "numpy", "huggingface-hub", "sympy", *OWN})


def test_the_versions_are_those_of_the_lock() -> None:
    """The GPU machine gets the versions that are tested here."""
    found = requirements(LOCK.read_text(encoding="utf-8").splitlines())
    assert f"grpcio=={importlib.metadata.version('grpcio')}" in found
    assert {line.partition("==")[0] for line in found} == set(wanted())


def test_no_wheels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without wheels `make gpu` names the command that collects them, and runs nothing."""
    monkeypatch.setattr(gpu, "WHEELS", tmp_path)
    monkeypatch.setattr("sys.argv", ["gpu", "--output", str(tmp_path / "out")])
    assert gpu.main() == 1
    assert "make gpu-wheels" in capsys.readouterr().out


def test_wheels_of_another_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A module whose installed source differs from the checkout's, or is missing, is named."""
    monkeypatch.setattr(gpu, "SITE", tmp_path / "site")
    monkeypatch.setattr(gpu, "SOURCES", {"classwire": tmp_path / "client"})
    for root in ("site", "client"):
        (tmp_path / root / "classwire").mkdir(parents=True)
        (tmp_path / root / "classwire" / "same.py").write_text("x = 1")
        (tmp_path / root / "classwire" / "other.py").write_text(f"x = {root!r}")
    (tmp_path / "client" / "classwire" / "new.py").write_text("")
    assert list(gpu.stale()) == ["classwire/new.py", "classwire/other.py"]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("print('said')", ""),
        ("import sys; print('said'); sys.exit(4)", "ended with exit code 4"),
        ("import threading; threading.Event().wait()", "stopped after 1 s"),
    ],
)
def test_steps_end(tmp_path: Path, program: str, why: str) -> None:
    """A step that fails or hangs has a reason, and its output is in its log."""
    log = tmp_path / "log"
    limit_s = 1.0 if "threading" in program else 60.0
    assert gpu.run([sys.executable, "-c", program], limit_s, log) == why
    assert log.read_text() == ("said\n" if "said" in program else "")
