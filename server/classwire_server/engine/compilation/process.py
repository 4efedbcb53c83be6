"""Compilation in a child process of low priority, which ends when its parent ends."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from classwire_server.checkpoint.hub import ask_hub
from classwire_server.checkpoint.loading import locate
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.errors import ClasswireServerError, CompileError, telling_line

from .cache import CompileCache, cache_folder
from .compiler import check_compiler

_PRIORITY = 10
_END_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Artefact:
    """A compiled model in the cache; `was_there` means that the cache had it already."""

    folder: Path
    was_there: bool

    @property
    def size_bytes(self) -> int:
        """Size of its files."""
        return sum(path.stat().st_size for path in self.folder.iterdir())


def compile_elsewhere(source: ModelSource, config: ServerConfig, precision: Precision) -> Artefact:
    """Compile a checkpoint in one precision for the CPU, unless the cache has it.

    Waits for a child process that loads and compiles the checkpoint, in about a minute. The child
    ends when this call is interrupted or this process ends. Raises the child's error: CompileError,
    or a StartError of the checkpoint. For any thread.
    """
    locate(source)  # report a wrong path at once: the child imports torch first
    command = [sys.executable, "-P", "-m", __name__]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if os.environ.get("CLASSWIRE_DEBUG") else subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,  # a process group, to end it together with its compilers
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):  # the child ended; its exit code is reported below
            pickle.dump((source, config, precision), process.stdin)
            process.stdin.flush()  # stays open: the child ends when it closes
        answer = process.stdout.read()
    if not answer:
        with suppress(OSError):
            CompileCache(cache_folder(config.compile_cache)).sweep()
        raise CompileError(f"the compiling process ended with exit code {process.returncode}")
    try:
        result: tuple[Path, bool] | ClasswireServerError = pickle.loads(answer)
    except (EOFError, pickle.UnpicklingError):
        raise CompileError("the compiling process ended while it answered") from None
    if isinstance(result, ClasswireServerError):
        raise result
    return Artefact(*result)


def _compile(source: ModelSource, config: ServerConfig, precision: Precision) -> tuple[Path, bool]:
    """The artefact's folder in the cache, and whether the cache had it already."""
    from classwire_server.checkpoint.loading import load_checkpoint
    from classwire_server.engine.forward.packed import PackedModel
    from classwire_server.engine.forward.precision import convert

    from .export import artefact_key, compile_model

    ask_hub(source, config)
    checkpoint, model, _ = load_checkpoint(source, config)
    cache = CompileCache(cache_folder(config.compile_cache))
    key = artefact_key(checkpoint, precision)
    if found := cache.find(key):
        return found, True
    check_compiler()
    try:
        convert(model, precision)
        packed = PackedModel(model, checkpoint.input_names)
    except ValueError as error:
        raise CompileError(f"{checkpoint.architecture} cannot be compiled: {error}") from error
    return cache.fill(key, lambda folder: compile_model(packed, folder)), False


def main() -> None:
    """Read a job from standard input, compile it, and write the result to standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # for libraries that print
    os.nice(_PRIORITY)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    job = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    result: tuple[Path, bool] | ClasswireServerError
    try:
        result = _compile(*job)
    except ClasswireServerError as error:
        result = error
    except Exception as error:
        result = CompileError(f"cannot be compiled: {telling_line(error)}")
    with answers:
        pickle.dump(result, answers)


def _end_with_parent() -> None:
    """Clean up and end this process and its compilers once standard input closes."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(_END_TIMEOUT_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
