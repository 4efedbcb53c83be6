"""`classwire doctor`: what a machine has, what a server would choose on it, and no secret."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from classwire import __version__
from classwire_server.cli.doctor.choices import Choice, choices
from classwire_server.cli.doctor.machine import environment, machine, memory, processor
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.latency_profile import LEAST_BATCH_TOKENS
from classwire_server.engine.selection.choice import division_for
from classwire_server.registry.memory_budget import cgroup_bytes
from tests.cli.conftest import Run, classwire  # noqa: F401

CPUINFO = """processor\t: 0
model name\t: A processor
flags\t\t: fpu avx2 fma avx512f avx512_vnni

processor\t: 1
model name\t: A processor
flags\t\t: fpu avx2 fma avx512f avx512_vnni
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What this machine has."""
    return dict(machine())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine whose cgroup, of version 2, allows 1.5 cores and whose parent's allows 4 GB."""
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


def chosen(found: dict[str, Any], **settings: Any) -> dict[str, Choice]:
    """The choices, by what is chosen."""
    return {choice.what: choice for choice in choices(ServerConfig(**settings), found)}


def test_versions_are_those_that_run(found: dict[str, Any]) -> None:
    """Of the package, of torch and of transformers as they are imported."""
    versions = found["versions"]
    assert versions["classwire"] == __version__
    assert versions["torch"] == torch.__version__
    assert versions["transformers"] == transformers.__version__
    assert found["processor"]["torch_computes_with"] == torch.backends.cpu.get_cpu_capability()


def test_limits_of_cgroups(root: Path) -> None:
    """Of version 2: a parent's holds as well, and part of a core is a part."""
    assert processor(root)["cores_by_cgroup"] == 1.5
    said = memory(root)
    assert (said["total_mb"], said["available_mb"], said["cgroup_mb"]) == (16_384, 8_192, 4_000)


def test_limits_of_cgroups_of_version_1(root: Path) -> None:
    """Each controller has a folder of its own; the number that means no limit is none."""
    (root / "proc/self/cgroup").write_text("4:memory:/service\n")
    limit = root / "sys/fs/cgroup/memory/service/memory.limit_in_bytes"
    limit.parent.mkdir(parents=True)
    limit.write_text("3000000000\n")
    assert memory(root)["cgroup_mb"] == 3_000
    limit.write_text("9223372036854771712\n")
    assert memory(root)["cgroup_mb"] is None
    assert processor(root)["cores_by_cgroup"] is None


def test_sizes_that_cannot_be_read(root: Path) -> None:
    """They are not there: nothing is said of them, and no limit holds."""
    (root / "proc/meminfo").write_text("MemTotal: lots\nMemAvailable:\nodd\n")
    (root / "sys/fs/cgroup/pod/memory.max").write_text("²\n")
    said = memory(root)
    assert (said["total_mb"], said["available_mb"], said["cgroup_mb"]) == (None, None, None)
    assert cgroup_bytes(root) == math.inf


def test_instructions_that_matter(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the processor has and those that it lacks, and nothing else of its flags."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    said = processor(root)
    assert said["name"] == "A processor"
    assert said["has"] == ["avx2", "fma", "avx512f", "avx512_vnni"]
    assert "avx512_bf16" in said["has_not"]
    assert "fpu" not in said["has"]


def test_choices_are_those_of_a_server(found: dict[str, Any]) -> None:
    """By the code that chooses: lanes and threads as a worker divides its device."""
    config = ServerConfig(device="cpu")
    said = chosen(found, device="cpu")
    division = division_for("cpu", config)
    assert said["lanes"].value == str(division.lanes)
    assert said["threads"].value == str(division.threads)
    assert said["precision"].value == "float32"
    assert str(LEAST_BATCH_TOKENS) in said["batches"].why


def test_settings_change_what_is_chosen(found: dict[str, Any]) -> None:
    """And the reason names the setting; what would be refused at start is said."""
    said = chosen(found, device="cpu", lanes=3, threads=2, batch_tokens=640, precision="auto")
    assert (said["lanes"].value, said["lanes"].why) == ("3", "as --lanes says")
    assert (said["threads"].value, said["threads"].why) == ("2", "as --threads says")
    assert (said["batches"].value, said["batches"].why) == ("640 tokens", "as --batch-tokens says")
    assert said["precision"].value == "the fastest"
    assert "int8" in said["precision"].why
    assert "scores within 0.03" in said["precision"].why
    assert "CUDA devices for torch" in chosen(found, device="cuda:99")["device"].why


def test_bfloat16_is_worth_what_the_processor_has(found: dict[str, Any]) -> None:
    """Without instructions for it, it is said to be hardly faster."""
    for has, said in ((["amx_bf16"], "has amx_bf16"), ([], "no instructions for it")):
        given = found | {"processor": found["processor"] | {"has": has}}
        assert said in chosen(given, device="cpu")["precision"].why


def test_no_secret_is_printed(
    classwire: Run,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of the environment it shows what changes the arithmetic, and that there is a token."""
    for name in ("HF_TOKEN", "CLASSWIRE_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("CLASSWIRE_LANES", "2")

    ended = classwire("doctor", "--json")

    said = json.loads(ended.out)
    assert ended.code == 0
    assert "hush" not in ended.out
    assert said["environment"]["OMP_NUM_THREADS"] == "3"
    assert said["environment"]["CLASSWIRE_LANES"] == "2"
    assert said["environment"]["HF_TOKEN"] == "is set"
    assert "CLASSWIRE_TOKEN" not in said["environment"]
    lanes = next(choice for choice in said["choices"] if choice["what"] == "lanes")
    assert lanes == {"what": "lanes", "value": "2", "why": "as --lanes says"}


def test_for_people_it_has_the_same(classwire: Run) -> None:  # noqa: F811
    """A block for each section, and one for the choices with their reasons."""
    out = classwire("doctor", "--device", "cpu").out
    for heading in ("Versions", "Processor", "Memory", "Devices", "Compiler", "Environment"):
        assert f"{heading}\n" in out
    assert "What a server would choose" in out
    assert "  batches: measured at start" in out
    assert classwire("doctor", "--device", "gpu").code == 2


def test_an_empty_environment_is_shown_empty() -> None:
    """A token that is set to nothing is none."""
    assert environment({"HF_TOKEN": "", "PATH": "/bin"}) == {}
