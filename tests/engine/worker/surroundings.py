"""Functions that a forked process runs instead of a worker, and what they tell of it."""

import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any
from unittest import mock

from classwire_server.engine.worker.forking import ForkedWorker
from classwire_server.engine.worker.protocol import Link, receive, send
from tests.workers import Main, fork


@dataclass(frozen=True)
class Surroundings:
    """What a process sees when it begins."""

    modules: frozenset[str]
    environment: dict[str, str]
    folder: str
    cores: frozenset[int]
    files: dict[int, str]
    threads: int
    collects: bool
    frozen: int
    has_cuda_open: bool
    finds_scipy: bool
    has_compiled_conversions: bool


def tells(control: Link, links: Sequence[Link]) -> None:
    """Send the surroundings, and end when the other side closes."""
    import torch
    from transformers.utils import is_scipy_available

    send(
        control,
        Surroundings(
            frozenset(sys.modules),
            dict(os.environ),
            os.getcwd(),
            frozenset(os.sched_getaffinity(0)),
            files(os.getpid()),
            threading.active_count(),
            gc.isenabled(),
            gc.get_freeze_count(),
            torch.cuda.is_initialized(),
            bool(importlib.util.find_spec("scipy")) == is_scipy_available(),
            _has_compiled_conversions(),
        ),
    )
    with suppress(EOFError):
        receive(control)


def _has_compiled_conversions() -> bool:
    """Whether transformers need not compile patterns before it loads a first model."""
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    with mock.patch("re.compile") as compiled:
        get_checkpoint_conversion_mapping("bert")
    return not compiled.called


def leaves_traces(control: Link, links: Sequence[Link]) -> None:
    """Change what another process must not see, then do as `tells`."""
    os.environ["OF_ANOTHER_MODEL"] = "secret"
    os.chdir("/")
    tells(control, links)


def raises(control: Link, links: Sequence[Link]) -> None:
    """Fail as no worker should."""
    raise ValueError("unexpected")


def ends(control: Link, links: Sequence[Link]) -> None:
    """End at once."""


@contextmanager
def forked(main: Main) -> Iterator[tuple[ForkedWorker, Any]]:
    """Fork a process that runs `main`; yields it and its first message, None if it sends none."""
    control, theirs = Pipe()
    with control:
        with theirs:
            process = fork(theirs, [theirs], main)
        message = None
        with suppress(EOFError):
            message = receive(control)
        try:
            yield process, message
        finally:
            process.kill()
            process.wait(60.0)


def files(pid: int) -> dict[int, str]:
    """The open files of a process, by descriptor."""
    folder = Path(f"/proc/{pid}/fd")
    found = {}
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # the descriptor of the folder itself
            found[int(entry.name)] = os.readlink(entry)
    return found
