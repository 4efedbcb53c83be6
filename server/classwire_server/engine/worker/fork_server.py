"""The fork server: a process that has imported torch and transformers, and forks workers.

A fork takes milliseconds and shares the memory of the imports; a fresh interpreter takes seconds.
A fork copies only the forking thread, and OpenMP does not survive it once it has run in parallel.
So this process has one thread, runs no operator of torch and never asks for CUDA. It is no
`multiprocessing` fork server, which imports the program's `__main__` into each child:
docs/concepts/decisions/0023.
"""

import gc
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import NoReturn

from .fork_protocol import (
    CannotFork,
    Fork,
    Forked,
    Reap,
    close_all,
    receive_descriptors,
    send_descriptors,
)
from .protocol import Link, name_process, receive, send

NAME = "classwire-forks"

MODULES = (
    "classwire_server.engine.worker.main",
    "classwire_server.engine.worker.memory",
    "classwire_server.engine.selection.engine_start",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.distilbert.modeling_distilbert",
    "transformers.models.roberta.modeling_roberta",
    "transformers.models.xlm_roberta.modeling_xlm_roberta",
    "transformers.models.modernbert.modeling_modernbert",
)
"""What every worker needs, and the code of the most frequent model types."""


def serve(connection: Link) -> None:
    """Import the engine, send a first answer, and then fork workers until the server ends.

    Then end the workers that still run: one that hangs would not notice the server's end.
    """
    name_process(NAME)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the server handles them, and ends this process
    _import_engine()
    running: set[int] = set()
    with suppress(EOFError, OSError):
        send(connection, None)
        while True:
            request: Fork | Reap = receive(connection)
            if isinstance(request, Reap):
                send(connection, _reap(request.pid, running))
            else:
                _fork(connection, request, running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _import_engine() -> None:
    """Import what workers need, in less time and memory than an ordinary import takes.

    A collection of garbage would find none, and each would visit all objects so far. Where scipy is
    installed, transformers imports it for the losses of object detection, which no worker computes.
    """
    gc.disable()
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]  # hidden from imports
    with suppress(Exception):  # a worker that needs what fails here reports it
        for module in MODULES:
            import_module(module)
        _compile_conversions()
    if sys.modules["scipy"] is None:
        del sys.modules["scipy"]
        with suppress(Exception):  # the code of a checkpoint may ask whether there is scipy
            import_module("transformers.utils").is_scipy_available.cache_clear()
    gc.freeze()  # so that no collection in a worker visits, and copies, what they share


def _compile_conversions() -> None:
    """Compile the patterns of weights' names that transformers keeps from its first model on.

    They are over a thousand, for all its model types, and each worker would compile them again.
    transformers 4 has none: the import fails.
    """
    import_module("transformers.conversion_mapping").get_checkpoint_conversion_mapping("bert")


def _fork(connection: Link, request: Fork, running: set[int]) -> None:
    """Fork a worker, and send its process id and its descriptor; or why the system gives none."""
    try:
        pid, process = _forked(connection, request)
    except OSError as error:
        send(connection, CannotFork(error))
        return
    running.add(pid)
    try:
        send(connection, Forked(pid))
        send_descriptors(connection, [process])
    finally:
        os.close(process)


def _forked(connection: Link, request: Fork) -> tuple[int, int]:
    """The process id of a new worker, and a descriptor of it. Leaves none if it raises OSError."""
    descriptors = receive_descriptors(connection, request.descriptors)
    try:
        pid = os.fork()
        if not pid:
            _run(connection, request, descriptors)
    finally:  # the worker does not get here
        close_all(descriptors)
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _run(connection: Link, request: Fork, descriptors: Sequence[int]) -> NoReturn:
    """Be a worker, and end as a process of its own would."""
    code = 1
    try:
        connection.close()
        gc.enable()
        os.environ.clear()
        os.environ.update(request.environment)
        os.sched_setaffinity(0, request.cores)
        folder, *connections = descriptors
        os.fchdir(folder)
        os.close(folder)
        control, *links = [Connection(descriptor) for descriptor in connections]
        pickle.loads(request.main)(control, links)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _reap(pid: int, running: set[int]) -> int | None:
    """The exit code of a worker that has ended, negative for a signal."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    running.discard(pid)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
