"""The engine's processes load no gRPC, which costs memory and start-up time."""

import subprocess
import sys
from pathlib import Path

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine.worker.pool import WorkerPool, launch
from classwire_server.tokenization import Truncation
from tests.engine.worker.callers import encodings

COMPILING = """
import sys
import classwire_server.engine.compilation.process
import classwire_server.engine.compilation.export
assert "torch" in sys.modules
assert "grpc" not in sys.modules
"""


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="reads libraries from /proc")
def test_a_worker_loads_no_grpc(bert: str) -> None:
    """A worker that was started as in production and has computed a batch maps torch's libraries,
    and none of gRPC.
    """
    config = ServerConfig(model=(bert,), lanes=1, batch_tokens=512)
    launched = launch(config.sources[0], config, lambda: None)
    try:
        assert isinstance(launched.engine, WorkerPool)
        launched.engine.infer(encodings(launched.checkpoint.tokenization(Truncation.REJECT)))
        (pid,) = launched.engine.pids
        libraries = Path(f"/proc/{pid}/maps").read_text()
    finally:
        launched.engine.close()
    assert "libtorch" in libraries
    assert "cygrpc" not in libraries


def test_the_compiling_process_imports_no_grpc() -> None:
    """The process that compiles a model imports torch, and not gRPC."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", COMPILING], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
