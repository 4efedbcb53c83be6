"""`classwire serve` as a process: its output, signals and exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from classwire import Client
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub, ModelServiceStub
from classwire_server.cli.serve import serve
from classwire_server.config.server_config import SETTING_GROUPS
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, eventually
from tests.contract.failures import refusal
from tests.engine.worker.callers import is_gone, stop, worker_of
from tests.signals import send_to_other_thread

READY_TIMEOUT_S = 60.0
"""How long a server may take to load a tiny model on a busy machine."""

LONG = "book " * 500


class Process:
    """A running server. Its standard error goes to a file."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        self._log = log
        ours = {k: v for k, v in os.environ.items() if not k.startswith("CLASSWIRE_")}
        with log.open("wb") as stderr:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "classwire", "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**ours, "OMP_NUM_THREADS": "1", **environment},
            )

    @property
    def log(self) -> str:
        """Its standard error so far."""
        return self._log.read_text()

    def line(self) -> str:
        """Return the next line of its standard output."""
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().rstrip("\n")

    def address(self) -> str:
        """Wait for its address, and return it."""
        words, _, address = self.line().rpartition(" ")
        assert words == "listening on", self.log
        return address

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        return self.popen.wait(2 * PATIENCE_S)

    def kill(self) -> None:
        """Kill it if it still runs."""
        self.popen.kill()
        self.popen.wait()
        assert self.popen.stdout is not None
        self.popen.stdout.close()


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts servers: `launch("--port", "0", CLASSWIRE_MODEL=…)`."""
    started: list[Process] = []

    def start(*arguments: str, **environment: str) -> Process:
        log = tmp_path / f"log-{len(started)}"
        started.append(Process(log, *arguments, **environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def bert(checkpoint: Callable[..., Path]) -> Path:
    """A tiny BERT."""
    return checkpoint("bert")


def test_serve_and_drain(
    launch: Callable[..., Process],
    bert: Path,
    tmp_path: Path,
    connect: Callable[[str], grpc.Channel],
) -> None:
    """Settings come from flags, environment and file; SIGTERM lets work in flight finish. The log
    begins with the first model and ends with the end, without the table of passes.
    """
    (tmp_path / "settings.toml").write_text("max_streams = 3\nport = 1\nbatch_tokens = 1\n")
    socket_address = f"unix:{tmp_path / 'socket'}"
    process = launch(
        *("--config", str(tmp_path / "settings.toml")),
        *("--port", "0"),
        *("--model", f"first={bert}", "--model", f"second={bert}"),
        *("--unix-socket", str(tmp_path / "socket")),
        CLASSWIRE_TRUNCATION="drop_end",
        CLASSWIRE_PORT="2",
    )
    address = process.address()
    assert address.startswith("127.0.0.1:")
    assert process.line() == "serving", process.log
    told = [json.loads(line)["message"] for line in process.log.splitlines()]
    assert told[0] == f"first: loading {bert}"
    assert [line.split(" after ")[0] for line in told if ": ready" in line] == [
        "first: ready",
        "second: ready",
    ]
    assert "tokens/s" not in process.log
    channel = connect(address)
    models = ModelServiceStub(channel)
    info = models.GetServerInfo(pb.GetServerInfoRequest(), timeout=PATIENCE_S)
    listed = models.ListModels(pb.ListModelsRequest(), timeout=PATIENCE_S).models
    assert info.limits.max_streams == 3
    assert [model.name for model in listed] == ["first", "second"]
    assert listed[0].default_truncation == pb.TRUNCATION_DROP_END
    request = pb.ClassifyRequest(input=pb.TextInput(text=LONG), model="second")
    local = ClassifyServiceStub(connect(socket_address))
    assert local.Classify(request, timeout=PATIENCE_S).model.name == "second"

    with Conversation(channel, ordering=pb.ORDERING_IN_ORDER) as stream:
        stream.read_started()
        for index in range(200):
            stream.send_items(item(str(index), LONG))
        results = stream.read_results(1)
        process.popen.send_signal(signal.SIGTERM)

        def read_on() -> None:
            while True:
                results.extend(stream.read_results(1))

        failure = refusal(read_on)

    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert [result.id for result in results] == [str(index) for index in range(len(results))]
    assert all(result.outcome.HasField("classification") for result in results)
    assert process.wait() == 0
    assert process.line() == ""
    assert process.log.count("draining; a second signal exits at once") == 1
    assert json.loads(process.log.splitlines()[-1])["message"] == "stopped"
    assert "Traceback" not in process.log
    assert "book" not in process.log


def scraped(address: str) -> str:
    """Return the metrics of a server."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE_S) as response:
        return str(response.read(), "utf-8")


def test_a_signal_to_another_thread(launch: Callable[..., Process], bert: Path) -> None:
    """SIGTERM stops an idle server even if it reaches a thread other than the main one."""
    process = launch("--port", "0", "--model", f"m={bert}")
    process.address()
    assert process.line() == "serving", process.log
    send_to_other_thread(process.popen.pid, signal.SIGTERM)
    assert process.wait() == 0


@pytest.mark.parametrize("send", [os.kill, send_to_other_thread])
def test_a_second_signal_exits_at_once(
    launch: Callable[..., Process], bert: Path, send: Callable[[int, int], None]
) -> None:
    """A second signal ends a drain that waits for a call, whichever thread it reaches."""
    process = launch(
        *("--port", "0", "--model", f"m={bert}", "--drain-timeout-s", str(10 * PATIENCE_S)),
        *("--metrics-port", "0"),
    )
    with grpc.insecure_channel(process.address()) as channel:
        metrics = process.line().removeprefix("metrics on ")
        assert process.line() == "serving", process.log
        worker = worker_of(process.popen.pid)
        stop(worker)
        stub, request = ClassifyServiceStub(channel), pb.ClassifyRequest()
        request.input.text = "a book"
        held = stub.Classify.future(request, timeout=10 * PATIENCE_S)
        assert eventually(lambda: 'classwire_lanes_busy{model="m"} 1.0' in scraped(metrics))
        process.popen.send_signal(signal.SIGINT)
        assert eventually(lambda: "draining" in process.log)
        with pytest.raises(grpc.FutureTimeoutError):
            held.exception(1.0)  # the drain waits for it

        send(process.popen.pid, signal.SIGTERM)

        assert process.wait() == 128 + signal.SIGTERM
        assert held.exception(PATIENCE_S)
    os.kill(worker, signal.SIGCONT)
    assert eventually(lambda: is_gone(worker))


def test_help_groups_the_settings() -> None:
    """The command's own options come first, then each setting under the title of its group."""
    lines = CliRunner().invoke(serve, ["--help"]).output.splitlines()
    titles = [line.removesuffix(":") for line in lines if line.endswith(":") and line[0] != " "]
    assert titles == ["Options", *SETTING_GROUPS]
    network = lines[lines.index("Network:") : lines.index("Limits:")]
    assert any(line.startswith("  --port INTEGER") for line in network)
    assert sum(line.startswith("  --help") or "-h, --help" in line for line in lines) == 1


def test_a_signal_while_loading(launch: Callable[..., Process], bert: Path) -> None:
    """A signal stops a server that still loads. Its exit code is 0."""
    process = launch("--port", "0", "--model", f"m={bert}")
    process.address()

    process.popen.send_signal(signal.SIGTERM)

    assert process.wait() == 0
    assert "Traceback" not in process.log


def error_of(process: Process, code: int = 1) -> str:
    """Return the one error line of a server that does not start."""
    assert process.wait() == code
    [line] = process.log.splitlines()
    return line


def test_a_reader_that_leaves(
    launch: Callable[..., Process], bert: Path, connect: Callable[[str], grpc.Channel]
) -> None:
    """The server goes on if the reader of its standard output leaves, as `head -1` does."""
    process = launch("--port", "0", "--model", f"tiny={bert}")
    address = process.address()
    channel = connect(address)
    assert process.popen.stdout is not None
    process.popen.stdout.close()

    request = pb.ClassifyRequest(input=pb.TextInput(text="book"))
    stub = ClassifyServiceStub(channel)
    with Client(address) as client:
        client.wait_until_ready(READY_TIMEOUT_S)
    assert stub.Classify(request, timeout=PATIENCE_S).result.scores
    assert eventually(lambda: "standard output: Broken pipe" in process.log), process.log
    process.popen.send_signal(signal.SIGTERM)
    assert process.wait() == 0


def test_a_port_in_use(launch: Callable[..., Process], bert: Path) -> None:
    """The error names the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        line = error_of(launch("--port", str(port), "--model", f"m={bert}"))

    assert line == (f"classwire serve: cannot listen on 127.0.0.1:{port}: address already in use")


def test_a_wrong_path(launch: Callable[..., Process], tmp_path: Path) -> None:
    """The error names the folder."""
    line = error_of(launch("--port", "0", "--model", f"m={tmp_path / 'nowhere'}"))

    assert line == f"classwire serve: {tmp_path / 'nowhere'}: no such folder"


def test_bad_settings(launch: Callable[..., Process], tmp_path: Path) -> None:
    """The error names the source of the bad setting."""
    (tmp_path / "bad.toml").write_text("max_stream = 3\n")
    by_flag = launch("--max-streams", "100", "--rpc-threads", "50")
    by_environment = launch(CLASSWIRE_PORT="http")
    by_file = launch("--config", str(tmp_path / "bad.toml"))

    assert error_of(by_flag, code=2).startswith("classwire serve: --max-streams: 100 streams")
    assert "CLASSWIRE_PORT='http'" in error_of(by_environment, code=2)
    assert error_of(by_file, code=2).endswith("bad.toml: no such setting: max_stream")


def test_bad_flags(launch: Callable[..., Process]) -> None:
    """An unknown flag, or one with a bad value, gives one error line too."""
    for process, word in (
        (launch("--prot", "0"), "--prot"),
        (launch("--port", "http"), "http"),
    ):
        assert process.wait() == 2
        [line] = process.log.splitlines()
        assert word in line
