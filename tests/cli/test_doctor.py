"""`classwire doctor`: the machine's facts, the server's choices, and no secrets."""

import functools
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from classwire import __version__
from classwire_server.cli import check
from classwire_server.cli.check import model_findings
from classwire_server.cli.doctor.machine import devices, environment, machine, memory, processor
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Choice
from classwire_server.engine.cores import divide, usable_cores
from classwire_server.engine.selection.processor import faster_than_float32, this_processor
from classwire_server.registry.memory_budget import cgroup_bytes
from tests.cli.conftest import Run, classwire  # noqa: F401
from tests.conftest import launch_forked

CPUINFO = """processor\t: 0
model name\t: A processor
flags\t\t: fpu avx2 fma avx512f avx512_vnni

processor\t: 1
model name\t: A processor
flags\t\t: fpu avx2 fma avx512f avx512_vnni
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """The facts about this machine."""
    return dict(machine()) | {"devices": devices()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with cgroup version 2: 1.5 cores, and 4 GB from the parent."""
    for path, text in (
        ("proc/cpuinfo", CPUINFO),
        ("proc/meminfo", "MemTotal:       16000000 kB\nMemAvailable:    8000000 kB\n"),
        ("proc/self/cgroup", "0::/pod/container\n"),
        ("sys/fs/cgroup/pod/memory.max", "4000000000\n"),
        ("sys/fs/cgroup/pod/container/memory.max", "max\n"),
        ("sys/fs/cgroup/pod/container/cpu.max", "150000 100000\n"),
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


@pytest.fixture
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny checkpoint."""
    return checkpoint("bert")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the command start its workers faster."""
    models = functools.partial(model_findings, launch=launch_forked)
    monkeypatch.setattr(check, "model_findings", models)


def chosen(bert: Path, **settings: Any) -> dict[str, Choice]:
    """Return the choices for a tiny model on the CPU, by name."""
    given = {"model": (f"tiny={bert}",), "device": "cpu", "batch_tokens": 512, **settings}
    (finding,) = model_findings(ServerConfig(**given), launch_forked)
    return {choice.what: choice for choice in finding.choices}


def test_versions(found: dict[str, Any]) -> None:
    """The versions are those of the imported packages."""
    versions = found["versions"]
    assert versions["classwire"] == __version__
    assert versions["torch"] == torch.__version__
    assert versions["transformers"] == transformers.__version__
    assert found["devices"]["torch_computes_with"] == torch.backends.cpu.get_cpu_capability()


def test_facts_come_before_torch() -> None:
    """Doctor prints all sections but the devices' before it imports torch, which takes long."""
    program = """
import sys
from click.testing import CliRunner
from classwire_server.cli.doctor import machine
from classwire_server.cli.doctor.command import doctor

def stop():
    assert "torch" not in sys.modules
    sys.exit(9)

machine.devices = stop
ended = CliRunner().invoke(doctor)
print(ended.exit_code, *(line for line in ended.output.splitlines() if line[:1].isalpha()))
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    assert said.split() == [b"9", b"Versions", b"Processor", b"Memory", b"Compiler", b"Environment"]


def test_limits_of_cgroups(root: Path) -> None:
    """With version 2, a parent's limit counts too. Limits may be fractions of a core."""
    assert processor(root)["cores_by_cgroup"] == 1.5
    facts = memory(root)
    assert (facts["total_mb"], facts["available_mb"], facts["cgroup_mb"]) == (16_384, 8_192, 4_000)


def test_limits_of_cgroups_of_version_1(root: Path) -> None:
    """With version 1, each controller has its own folder, and a huge number means no limit."""
    (root / "proc/self/cgroup").write_text("4:memory:/service\n")
    limit = root / "sys/fs/cgroup/memory/service/memory.limit_in_bytes"
    limit.parent.mkdir(parents=True)
    limit.write_text("3000000000\n")
    assert memory(root)["cgroup_mb"] == 3_000
    limit.write_text("9223372036854771712\n")
    assert memory(root)["cgroup_mb"] is None
    assert processor(root)["cores_by_cgroup"] is None


def test_sizes_that_cannot_be_read(root: Path) -> None:
    """Such sizes are None, and no limit applies."""
    (root / "proc/meminfo").write_text("MemTotal: lots\nMemAvailable:\nodd\n")
    (root / "sys/fs/cgroup/pod/memory.max").write_text("²\n")
    facts = memory(root)
    assert (facts["total_mb"], facts["available_mb"], facts["cgroup_mb"]) == (None, None, None)
    assert cgroup_bytes(root) == math.inf


def test_instructions(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor lists the relevant instruction sets that the processor has, and those it lacks."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    said = processor(root)
    assert said["name"] == "A processor"
    assert said["has"] == ["avx2", "fma", "avx512f", "avx512_vnni"]
    assert "avx512_bf16" in said["has_not"]
    assert "fpu" not in said["has"]


def test_choices_are_those_of_the_selection(bert: Path) -> None:
    """Each choice has its value and its reason. Lanes and threads are those of the worker."""
    said = chosen(bert)
    division = divide(usable_cores(), 0, 0)
    assert said["device"] == Choice("device", "cpu", "set by --device")
    assert said["cores"].value == str(usable_cores())
    assert said["lanes"].value == str(division.lanes)
    assert said["threads"].value == str(division.threads)
    assert said["layout"].value == "packed"
    assert said["precision"].value == "float32"
    assert "auto would try " in said["precision"].why
    assert said["compiled"].value == "no"


def test_settings_change_the_choices(bert: Path, few_texts: str) -> None:
    """The reason names the setting or the measurement."""
    said = chosen(bert, lanes=3, threads=2, precision="auto", calibration=few_texts)
    assert said["lanes"] == Choice("lanes", "3", "set by --lanes")
    assert said["threads"] == Choice("threads", "2", "set by --threads")
    assert said["batches"].value == "512 tokens"
    assert said["batches"].why.startswith("set by --batch-tokens; 16: ")
    tried = faster_than_float32("cpu", this_processor())
    expected = "scores within 0.03: " if tried else "for this processor"
    assert expected in said["precision"].why


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    """The finding has the reason and no choices."""
    config = ServerConfig(model=(f"gone={tmp_path}/gone",))
    (finding,) = model_findings(config, launch_forked)
    assert (finding.exit_code, finding.choices) == (1, ())
    assert finding.detail.endswith("no such folder")
    (finding,) = model_findings(ServerConfig(device="cuda:99"), launch_forked)
    assert (finding.exit_code, finding.choices) == (2, ())
    assert "CUDA devices for torch" in finding.detail


@pytest.mark.usefixtures("quick")
def test_no_secret_is_printed(
    classwire: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    bert: Path,
) -> None:
    """Doctor prints variables that affect the arithmetic, and whether HF_TOKEN is set."""
    for name in ("HF_TOKEN", "CLASSWIRE_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("CLASSWIRE_LANES", "2")

    ended = classwire("doctor", "--json", "--model", str(bert), "--batch-tokens", "512")

    said = json.loads(ended.out)
    assert ended.code == 0
    assert "hush" not in ended.out
    assert said["environment"]["OMP_NUM_THREADS"] == "3"
    assert said["environment"]["CLASSWIRE_LANES"] == "2"
    assert said["environment"]["HF_TOKEN"] == "is set"
    assert "CLASSWIRE_TOKEN" not in said["environment"]
    (model,) = said["models"]
    lanes = next(choice for choice in model["choices"] if choice["what"] == "lanes")
    assert lanes == {"what": "lanes", "value": "2", "why": "set by --lanes"}


@pytest.mark.usefixtures("quick")
def test_text_output(classwire: Run, bert: Path) -> None:  # noqa: F811
    """Each section has a block, as have each model's choices with their reasons."""
    tiny = ("--model", f"tiny={bert}", "--batch-tokens", "512")
    out = classwire("doctor", "--device", "cpu", *tiny).out
    for heading in ("Versions", "Processor", "Memory", "Devices", "Compiler", "Environment"):
        assert f"{heading}\n" in out
    assert "ok      model tiny: BertForSequenceClassification" in out
    assert "  batches: 512 tokens\n    set by --batch-tokens; 16: " in out
    assert classwire("doctor", "--device", "gpu").code == 2


def test_an_empty_environment() -> None:
    """An empty HF_TOKEN counts as not set."""
    assert environment({"HF_TOKEN": "", "PATH": "/bin"}) == {}
