"""The machine on which figures are measured."""

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """Return processor, cores, instructions and versions of this machine."""
    named = _processor()
    flags = named.get("flags", "").split()
    known = ("amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "avx2")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": named.get("model name", platform.machine()),
        "instructions": next(
            (flag for flag in known if flag in flags), "no vector extensions known"
        ),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
    }


def has_bfloat16() -> bool:
    """Whether this processor has instructions for products in bfloat16."""
    flags = _processor().get("flags", "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _processor() -> dict[str, str]:
    """What /proc/cpuinfo says of the last processor; empty where there is none."""
    named: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            named[key.strip()] = value.strip()
    return named


def in_words(found: Mapping[str, Any]) -> str:
    """Return a machine's processor in words: `2 cores of AMD EPYC`."""
    return f"{found['cores']} cores of {found['processor']}"
