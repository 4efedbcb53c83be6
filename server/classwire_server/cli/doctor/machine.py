"""Facts about the machine: versions, processor, memory, devices, environment.

They hold no secrets: only the environment variables listed here are read.
"""

import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import ENVIRONMENT_PREFIX
from classwire_server.engine.cgroup import limits
from classwire_server.engine.compilation.compiler import check_compiler
from classwire_server.engine.cores import open_cores, quotas
from classwire_server.errors import CompileError
from classwire_server.registry.memory_budget import MB

Facts = Mapping[str, Any]
"""Facts by name: texts, numbers, lists of texts, or None if there is no such thing."""

PACKAGES = (
    *("classwire", "grpcio", "protobuf", "torch", "transformers", "tokenizers", "safetensors"),
    "numpy",
)
FEATURES = {
    "x86_64": (
        *("avx2", "fma", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
        *("amx_tile", "amx_int8", "amx_bf16"),
    ),
    "aarch64": ("asimd", "asimddp", "sve", "i8mm", "bf16"),
}
"""Instruction sets that change the engine's speed, by their names in /proc/cpuinfo."""
ARITHMETIC = ("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_")
VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "CXX", "GRPC_TRACE", "GRPC_VERBOSITY", "HF_HOME", "HF_HUB_OFFLINE"),
    *("LD_PRELOAD", "XDG_CACHE_HOME"),
)
NO_LIMIT_BYTES = 1 << 60
"""cgroup version 1 writes a number near 2**63 for no limit."""


def machine(root: Path = Path("/")) -> Iterator[tuple[str, Facts]]:
    """Yield each section of facts but the devices'. Torch, which is slow to import, stays out.

    `root` is the folder that holds /proc and /sys.
    """
    yield "versions", versions()
    yield "processor", processor(root)
    yield "memory", memory(root)
    yield "compiler", {"c++": compiler()}
    yield "environment", environment(os.environ)


def versions() -> Facts:
    """Return the versions of Python and of the libraries that affect an answer."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def processor(root: Path) -> Facts:
    """Return the processor's name, its relevant instruction sets, and the share of this process."""
    cpuinfo = _fields(root / "proc/cpuinfo")
    flags = (cpuinfo.get("flags") or cpuinfo.get("Features") or "").split()
    kind = platform.machine()
    matter = FEATURES.get(kind, ())
    return {
        "name": cpuinfo.get("model name") or platform.processor() or kind,
        "has": [feature for feature in matter if feature in flags],
        "has_not": [feature for feature in matter if feature not in flags],
        "cores": os.cpu_count(),
        "cores_open_to_this_process": open_cores(),
        "cores_by_cgroup": min(quotas(root), default=None),
    }


def memory(root: Path) -> Facts:
    """Return the machine's memory and the cgroup limit of this process, in MB."""
    meminfo = _fields(root / "proc/meminfo")
    allowed = limits(root, "memory", ["memory.max"], ["memory.limit_in_bytes"])
    return {
        "total_mb": _mb_of(meminfo.get("MemTotal")),
        "available_mb": _mb_of(meminfo.get("MemAvailable")),
        "cgroup_mb": _least_mb(allowed),
    }


def devices() -> Facts:
    """Return torch's build and instructions, and the devices that it finds next to the CPU."""
    import torch

    gpus = {}
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(number)
            gpus[f"cuda:{number}"] = (
                f"{found.name}, {found.total_memory / MB:.0f} MB, "
                f"compute capability {found.major}.{found.minor}"
            )
    mps = {"mps": "there"} if torch.backends.mps.is_available() else {}
    build = "CPU"
    if torch.version.cuda or torch.version.hip:
        build = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    instructions = torch.backends.cpu.get_cpu_capability()
    return {"torch_build": build, "torch_computes_with": instructions, **gpus, **mps}


def compiler() -> str | None:
    """Return the C++ compiler that --compile would call, or None."""
    try:
        return check_compiler()
    except CompileError:
        return None


def environment(variables: Mapping[str, str]) -> Facts:
    """Return the variables that affect speed or arithmetic, and those that are settings."""
    settings = {ENVIRONMENT_PREFIX + f.name.upper() for f in dataclasses.fields(ServerConfig)}
    relevant = {
        name: value
        for name, value in sorted(variables.items())
        if name.startswith(ARITHMETIC) or name in VARIABLES or name in settings
    }
    return relevant | ({"HF_TOKEN": "is set"} if variables.get("HF_TOKEN") else {})


def _fields(path: Path) -> dict[str, str]:
    """Return the first value of each `name: value` line in a file of /proc."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in reversed(lines) if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _mb_of(value: str | None) -> int | None:
    size_kb, _, _ = (value or "").partition(" ")
    return round(int(size_kb) * 1_024 / MB) if size_kb.isdecimal() else None


def _least_mb(allowed: Iterable[list[str]]) -> int | None:
    sizes = [int(word) for words in allowed for word in words if word.isdecimal()]
    return min((round(size / MB) for size in sizes if size < NO_LIMIT_BYTES), default=None)
