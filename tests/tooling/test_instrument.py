"""Programs that measure end their servers."""

import signal
import subprocess
import sys

from scripts.pages import ROOT
from tests.contract.engines import PATIENCE_S, eventually
from tests.engine.worker.callers import is_gone

PROGRAM = """
import threading
from benchmarks.instrument import end_on_sigterm
from benchmarks.served import ECHO, Served

end_on_sigterm()
with Served(*ECHO) as server:
    print(server.pid, flush=True)
    threading.Event().wait()
"""


def test_a_program_that_sigterm_ends_leaves_no_server() -> None:
    """SIGTERM ends the server first, then the program, with the exit code of the signal."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        server = int(program.stdout.readline())
        program.terminate()
        assert program.wait(PATIENCE_S) == 128 + signal.SIGTERM
        assert eventually(lambda: is_gone(server))
