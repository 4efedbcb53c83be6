"""What results of an earlier process depend on: the versions, the sources and the processor."""

import hashlib
import platform
from pathlib import Path

import torch
import transformers

from classwire import __version__
from classwire_server.engine.cores import processor_features


def versions() -> tuple[str, ...]:
    """The versions of Classwire, torch and transformers."""
    return __version__, torch.__version__, transformers.__version__


def processor() -> tuple[str, ...]:
    """The system, the processor, and the instructions that torch uses on it."""
    return (
        platform.system(),
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        *processor_features(),
    )


def source_digest(folder: Path) -> str:
    """A hash of the names and contents of all sources in a folder and its subfolders."""
    digest = hashlib.sha256()
    for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.cpp"))):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()
