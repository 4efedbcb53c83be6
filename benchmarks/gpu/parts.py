"""Parts of the benchmark, each in a process of its own that ends within a limit.

A part prints one JSON object for each figure as soon as it has it. So a part that hangs or fails
leaves the figures before, and no memory on the device.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Finding = dict[str, Any]
"""One figure: `what` names its kind."""


@dataclass(frozen=True)
class Part:
    """A module that measures, and the most seconds that it may take."""

    module: str
    limit_s: float


PARTS = {
    "engine": Part("benchmarks.gpu.engines", 100),
    "served": Part("benchmarks.gpu.served", 130),
    "selection": Part("benchmarks.gpu.selection", 60),
    "kernels": Part("benchmarks.gpu.kernels", 45),
}
"""In the order of their worth, in case the time runs out."""


def run(module: str, arguments: list[str], limit_s: float, found: Callable[[Finding], None]) -> str:
    """Run a part, and call `found` for each finding. Returns why it is incomplete, or ""."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its servers end with it
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    until_s = time.monotonic() + limit_s
    try:
        while (line := lines.get(timeout=max(0.0, until_s - time.monotonic()))) is not None:
            found(json.loads(line))
    except queue.Empty:
        return f"stopped after {limit_s:.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        reader.join()
    return f"ended with exit code {code}" if code else ""


def _read(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str | None]") -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    process.wait()  # so that its exit code is its own
    lines.put(None)


def emit(what: str, **values: Any) -> None:
    """Print a finding. Called by a part; the rest of its output goes to standard error."""
    print(json.dumps({"what": what, **values}), file=_ANSWERS, flush=True)


def redirect() -> None:
    """Send everything but findings to standard error, from now on."""
    global _ANSWERS
    _ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


_ANSWERS = sys.stdout
