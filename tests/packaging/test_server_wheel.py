"""The installed pair: the server's wheel serves the checkpoint that it holds."""

import importlib.metadata
import importlib.util
import json
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

import classwire_server

COMMAND = Path(sysconfig.get_path("scripts")) / "classwire"
INSTALLED = Path(sysconfig.get_path("purelib"))
LABELS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Yield the address of a `classwire serve` with defaults and a free port.

    Its end is part of the test: SIGTERM drains it, and it exits with 0.
    """
    command = [str(COMMAND), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().removeprefix("listening on ").strip()
            assert server.stdout.readline() == "serving\n"
            yield address
            server.send_signal(signal.SIGTERM)
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()


def test_package_is_the_installed_one() -> None:
    """The wheel holds types, card and weights of the checkpoint, and files of engine and demo."""
    files = {str(path) for path in importlib.metadata.files("classwire-server") or []}
    embedded = "classwire_server/models/stars-en"

    assert Path(classwire_server.__file__).is_relative_to(INSTALLED)
    assert "classwire_server/py.typed" in files
    assert {f"{embedded}/model.safetensors", f"{embedded}/README.md"} <= files
    demo = "classwire_server/cli/demo"
    assert {f"{demo}/reviews.jsonl", f"{demo}/coat.txt", f"{demo}/LICENSE"} <= files
    assert any(path.endswith("sboms/classwire-server.cdx.json") for path in files)
    engine = "classwire_server/engine"
    assert {
        f"{engine}/selection/calibration.txt",
        f"{engine}/compilation/compiled_runner.cpp",
    } <= files


def test_command_classifies_with_the_embedded_checkpoint(target: str) -> None:
    """The reference sentence has a score for each of the five stars."""
    ended = classify(target)

    assert ended.returncode == 0, ended.stderr
    assert all(label in ended.stdout for label in LABELS)


def test_scores_are_machine_readable(target: str) -> None:
    """`--json` gives the same labels, highest score first, with a sum of one."""
    ended = classify(target, "--json")

    assert ended.returncode == 0, ended.stderr
    scores = [(entry["label"], entry["score"]) for entry in json.loads(ended.stdout)["scores"]]
    assert sorted(label for label, _ in scores) == LABELS
    assert scores == sorted(scores, key=lambda entry: -entry[1])
    assert sum(score for _, score in scores) == pytest.approx(1, abs=1e-4)


def test_traces_are_an_extra(target: str) -> None:
    """Without OpenTelemetry the server works; with tracing on, it exits and names the extra to
    install.
    """
    assert importlib.util.find_spec("opentelemetry") is None
    assert classify(target).returncode == 0

    ended = run("serve", "--port", "0", "--traces", "env")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "--traces" in ended.stderr
    assert "pip install 'classwire-server[tracing]'" in ended.stderr


def test_adapters_are_an_extra(tmp_path: Path) -> None:
    """Without PEFT the server refuses an adapter, and names the extra to install."""
    assert importlib.util.find_spec("peft") is None
    config = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "acme/base"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))

    ended = run("serve", "--port", "0", "--model", str(tmp_path))

    assert ended.returncode == 1
    assert "pip install 'classwire-server[adapters]'" in ended.stderr


def classify(target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `classwire classify` on the reference sentence and return the finished process."""
    return run("classify", "--target", target, *options, "I really love this book")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return a function that runs the command and returns the finished process."""
    return subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
