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
    """A module of `benchmarks.gpu` that measures, and the most seconds that it may take."""

    module: str
    limit_s: float


PARTS = {
    "engine": Part("engines", 110),
    "served": Part("served", 130),
    "selection": Part("selection", 60),
    "kernels": Part("kernels", 45),
}
"""In the order of their worth, in case the time runs out."""


def run(part: Part, arguments: list[str], limit_s: float, found: Callable[[Finding], None]) -> str:
    """Run a part, and call `found` for each finding. Returns why it is incomplete, or ""."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"benchmarks.gpu.{part.module}", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its servers end with it
    )
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    until_s = time.monotonic() + min(limit_s, part.limit_s)
    try:
        while (line := lines.get(timeout=max(0.0, until_s - time.monotonic()))) is not None:
            found(json.loads(line))
    except queue.Empty:
        return f"stopped after {min(limit_s, part.limit_s):.0f} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return f"ended with exit code {code}" if code > 0 else ""


def _read(process: "subprocess.Popen[str]", lines: "queue.SimpleQueue[str | None]") -> None:
    for line in process.stdout or ():
        lines.put(line)
    process.wait()  # so that its exit code is its own
    lines.put(None)


def say(what: str, **values: Any) -> None:
    """Print a finding. Called by a part; the rest of its output goes to standard error."""
    print(json.dumps({"what": what, **values}), file=_ANSWERS, flush=True)


def redirect() -> None:
    """Send everything but findings to standard error, from now on."""
    global _ANSWERS
    _ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


_ANSWERS = sys.stdout
