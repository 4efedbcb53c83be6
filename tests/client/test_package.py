"""What importing the package loads, and what it does not."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

import classwire
from classwire import ClassifyOptions, InvalidInputError, RankOptions, ZeroShotOptions, errors
from classwire._calls.ranking import rank_options
from classwire._calls.requests import classify_options
from classwire._calls.zero_shot import zero_shot_options
from classwire._connection.channel import channel_options, target_uri
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb

HEAVY = ("torch", "transformers", "numpy", "classwire_server", "classwire.testing", "classwire.cli")


def run(program: str, *arguments: str) -> str:
    """Return what a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_importing_the_client_imports_nothing_heavy() -> None:
    """Importing the client loads no torch, no server, and nothing that only tests or the CLI
    need.
    """
    program = f"import sys, classwire; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(program) == "[]\n"


@pytest.mark.parametrize("module", ["classwire", "classwire.errors", "classwire.results"])
def test_errors_and_reasons_load_no_grpc(module: str) -> None:
    """Importing errors and reasons does not load gRPC."""
    program = (
        f"import sys, {module}; from classwire.contract.reasons import Reason; "
        "print('grpc' in sys.modules)"
    )
    assert run(program) == "False\n"


ASK = """
import os, sys
from classwire import Client, UnavailableError
with Client(sys.argv[-1], tls=True, retry=False) as client:
    try:
        client.classify("text")
    except UnavailableError:
        sys.exit("GRPC_VERBOSITY" in os.environ)
"""


@pytest.mark.parametrize(
    ("args", "lines"),
    [
        (["-c", ASK], 0),
        (["-m", "classwire", "models", "--tls", "--target"], 1),
        (["-m", "classwire", "admin", "status", "--tls", "--target"], 1),
    ],
    ids=["library", "command", "admin"],
)
def test_the_log_of_grpc_is_off(args: list[str], lines: int) -> None:
    """A failed handshake writes no line of gRPC to standard error, unless the user asks for it.
    The environment stays as it is.
    """
    with FakeServer(["yes"]) as server:
        ended, asked = (
            subprocess.run(
                [sys.executable, *args, server.target],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            for environment in (os.environ, {**os.environ, "GRPC_VERBOSITY": "info"})
        )
    assert len(ended.stderr.splitlines()) == lines
    assert ended.returncode == bool(lines)
    assert "Handshake failed" in asked.stderr


def test_the_fake_server_needs_no_torch() -> None:
    """The fake server runs without torch."""
    program = "import sys, classwire.testing; print('torch' in sys.modules)"
    assert run(program) == "False\n"


def test_public_names() -> None:
    """`__all__` is sorted, without duplicates, and holds every error class."""
    assert classwire.__all__ == sorted(set(classwire.__all__))
    assert all(hasattr(classwire, name) for name in classwire.__all__)
    assert set(classwire.__all__) <= set(dir(classwire))
    with pytest.raises(AttributeError, match="Nothing"):
        classwire.Nothing  # noqa: B018
    assert set(errors.__all__) <= set(classwire.__all__)


@pytest.mark.parametrize(
    ("keywords", "made"),
    [
        (ClassifyOptions, classify_options()),
        (RankOptions, rank_options()),
        (ZeroShotOptions, zero_shot_options()),
    ],
)
def test_the_options_are_those_of_the_contract(keywords: Any, made: Any) -> None:
    """Each field of the contract's options, and of their WindowOptions, is a keyword; by default
    the client sends none.
    """
    fields = {field.name for field in made.DESCRIPTOR.fields} - {"windows"}
    windows = {field.name for field in pb.WindowOptions.DESCRIPTOR.fields}
    assert set(keywords.__annotations__) == fields | windows
    assert not made.ListFields()


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("host:1", "host:1"),
        ("dns:///host:1", "dns:///host:1"),
        ("unix:/run/classwire.sock", "unix:/run/classwire.sock"),
        (["host:1"], "host:1"),
        (["10.0.0.1:1", "10.0.0.2:2"], "ipv4:10.0.0.1:1,10.0.0.2:2"),
        (("[::1]:1", "[fe80::2]:2"), "ipv6:[::1]:1,[fe80::2]:2"),
    ],
)
def test_targets(target: Any, uri: str) -> None:
    """A string is passed to gRPC as it is; several addresses become one gRPC target."""
    assert target_uri(target) == uri


@pytest.mark.parametrize(
    "target",
    [
        [],
        ["a:1", "b:1"],
        ["10.0.0.1:1", "[::1]:1"],
        ["10.0.0.1", "10.0.0.2"],
        "http://host:1",
        "grpcs://host:1",
    ],
)
def test_targets_without_a_name(target: Any) -> None:
    """A target that gRPC cannot express raises an error that names the alternative."""
    with pytest.raises(InvalidInputError, match="dns:///"):
        target_uri(target)


@pytest.mark.parametrize(
    "target",
    [
        "localhost",
        "dns:///a.example",
        "10.0.0.1",
        "::1",
        "[::1]",
        "host:",
        "host:0",
        "host:http",
        "host:70000",
    ],
)
def test_targets_without_a_port(target: Any) -> None:
    """A host without a valid port raises an error that says so: gRPC would take port 443."""
    with pytest.raises(InvalidInputError, match="port") as raised:
        target_uri(target)
    assert raised.value.field == "target"


def test_only_unavailable_calls_are_retried_and_streams_never() -> None:
    """The service config retries UNAVAILABLE unary calls, and never streams."""
    config = json.loads(dict(channel_options(()))["grpc.service_config"])
    (methods,) = config["methodConfig"]
    assert methods["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert methods["retryPolicy"]["maxAttempts"] == 2
    retried = {(name["service"], name.get("method")) for name in methods["name"]}
    assert retried == {
        ("classwire.v1.ClassifyService", "Classify"),
        ("classwire.v1.ClassifyService", "BatchClassify"),
        ("classwire.v1.ClassifyService", "Tokenize"),
        ("classwire.v1.ClassifyService", "Rank"),
        ("classwire.v1.ClassifyService", "ZeroShotClassify"),
        ("classwire.v1.ModelService", None),
    }
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]


def test_the_channel_is_pinged() -> None:
    """The channel pings every 30 s, even when idle, waits 10 s, and accepts responses up to 64
    MiB.
    """
    options = dict(channel_options([("grpc.keepalive_timeout_ms", 5)]))
    assert options["grpc.keepalive_time_ms"] == 30_000
    assert options["grpc.keepalive_permit_without_calls"] == 1
    assert options["grpc.keepalive_timeout_ms"] == 5
    assert options["grpc.max_receive_message_length"] == 64 << 20


def test_a_stream_used_in_a_forked_process() -> None:
    """A fork that goes on with a stream of its parent gets an error at once, and can close it."""
    program = """
import os, signal, sys
from classwire import Client, UnusableClientError
with Client(sys.argv[1]) as client:
    for use in (list, lambda results: results.close()):
        results = client.classify_stream(str(n) for n in range(5_000))
        next(results)
        child = os.fork()
        if not child:
            signal.alarm(10)
            try:
                use(results)
            except UnusableClientError as error:
                os._exit(7)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), sum(1 for _ in results))
"""
    with FakeServer(["yes"]) as server:
        assert run(program, server.target) == "7 4999\n1 4999\n"


def test_a_client_used_in_a_forked_process() -> None:
    """After a real fork the child gets an error at once, and the parent's client still works."""
    program = """
import os, sys
from classwire import Client, UnusableClientError
with Client(sys.argv[1]) as client:
    client.classify("text")
    child = os.fork()
    if not child:
        try:
            client.classify("text")
        except UnusableClientError as error:
            os._exit(7)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), client.classify("text").label)
"""
    with FakeServer(["yes"]) as server:  # gRPC servers do not survive a fork (grpc/grpc 17093)
        assert run(program, server.target) == "7 yes\n"
