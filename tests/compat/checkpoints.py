"""Checkpoints and truth of each type, as a process without Classwire makes them; kept for reuse."""

import hashlib
import importlib.metadata
import json
import selectors
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".compat"
MAKERS = (
    "python_tokenizers",
    "sizes",
    "texts",
    "tokenizer_kinds",
    "truth",
    "vocabularies",
    "weights",
)
PATIENCE_S = 150.0
"""How long to wait for a type before its process is given up."""


def folder_of(work: Path) -> Path:
    """Return the folder for checkpoints of these versions, made by this source."""
    digest = hashlib.sha256()
    for name in MAKERS:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    versions = [f"{name}-{importlib.metadata.version(name)}" for name in ("transformers", "torch")]
    return work / "-".join([*versions, digest.hexdigest()[:12]])


def made(folder: Path, types: Sequence[str]) -> Generator[tuple[str, dict[str, Any]]]:
    """Yield each type with its truth, as soon as it is made.

    A process that ends early, or is silent for PATIENCE_S, costs the type it was at.
    """
    left = list(types)
    while left:
        for model_type in _run(folder, left):
            left.remove(model_type)
            yield model_type, json.loads((folder / model_type / "truth.json").read_text("utf-8"))
        if left:
            yield left.pop(0), {"cannot_run": "direct use ends its process, or hangs"}


def _run(folder: Path, types: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.compat.truth", str(folder), *types]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None
        selector.register(process.stdout, selectors.EVENT_READ)
        try:
            while selector.select(PATIENCE_S) and (line := process.stdout.readline()):
                yield line.strip()
        finally:
            process.kill()
