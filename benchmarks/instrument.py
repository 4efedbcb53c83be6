"""Child processes that measure on request, so that several can take turns.

Each instrument is a module of functions with JSON arguments and results. `serve` runs them in the
child, `Instrument` calls them from the parent, with one JSON object per line.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ASK_TIMEOUT_S = 600.0
END_TIMEOUT_S = 10.0
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


class MeasurementError(RuntimeError):
    """A measurement failed; the message gives the reason."""


class Instrument:
    """A child process `PYTHON -m MODULE`, on the given cores. For use by one thread."""

    def __init__(
        self,
        module: str,
        cores: Iterable[int],
        environment: Mapping[str, str] = ONE_THREAD,
        python: str | Path = sys.executable,
    ) -> None:
        self.module = module
        wanted = set(cores)
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            preexec_fn=lambda: os.sched_setaffinity(0, wanted),
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, function: str, **arguments: Any) -> Any:
        """Call a function of the instrument and wait for its result. Raises MeasurementError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # the missing answer below raises MeasurementError
            self._process.stdin.write(json.dumps([function, arguments]) + "\n")
            self._process.stdin.flush()
        with selectors.DefaultSelector() as ready:
            ready.register(self._process.stdout, selectors.EVENT_READ)
            if not ready.select(ASK_TIMEOUT_S):
                self._process.kill()
        line = self._process.stdout.readline()
        if not line:
            raise MeasurementError(f"{self.module} ended or timed out during {function}")
        answer = json.loads(line)
        if "failure" in answer:
            raise MeasurementError(f"{function}: {answer['failure']}")
        return answer["result"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(functions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer the parent's calls until it ends; the functions' output goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        function, arguments = json.loads(line)
        try:
            answer = {"result": functions[function](**arguments)}
        except Exception as error:  # the parent reports it and continues without this figure
            first = (str(error).splitlines() or [""])[0]
            answer = {"failure": f"{type(error).__name__}: {first}"}
        print(json.dumps(answer), file=answers, flush=True)


def end_on_sigterm() -> None:
    """Let SIGTERM end this program by SystemExit, so that it ends its children first."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def pin(pid: int, cores: Iterable[int]) -> None:
    """Pin all threads of a process, and those that they start, to these cores."""
    wanted = set(cores)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # the thread has just ended
            os.sched_setaffinity(int(task.name), wanted)


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the process has just ended
            if int((process / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(process.name))
    return found


def descendants(pid: int) -> list[int]:
    """Return the process ids of a process's children and of all processes below them."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def processor_s(pid: int) -> float:
    """Return a process's user and system time so far, in seconds (proc(5), stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def seconds_of(run: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    started_s = time.perf_counter()
    run()
    return time.perf_counter() - started_s
