"""The image and the compose file, checked without a build.

`make replay-image` builds the image and runs it.
"""

import json
import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from tests.deploy.manifests import (
    DEPLOY,
    DOCKERFILE,
    image_variables,
    instruction,
    instructions,
    read,
    settings_of,
)

COMPOSE = DEPLOY / "docker" / "compose.yaml"
INDEX = "PIP_EXTRA_INDEX_URL"
HEALTH = ["classwire", "health", "--timeout-s", "8"]


def test_signals_reach_the_server() -> None:
    """The server is process 1, without a shell, and gets the signal on which it drains."""
    assert json.loads(instruction("ENTRYPOINT")) == ["classwire", "serve"]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_plain_text_needs_the_insecure_flag() -> None:
    """Without arguments the image rejects a plain-text network port; --insecure allows it."""
    with pytest.raises(ConfigError, match="--insecure"):
        settings_of({}, [])
    settings_of({}, ["--insecure"])


def test_the_image_runs_as_a_numeric_user() -> None:
    """Every image ends with a numeric user other than root, as `runAsNonRoot` requires."""
    users = [rest for stage in instructions().values() for word, rest in stage if word == "USER"]
    assert int(instruction("USER").partition(":")[0]) > 0
    assert users[-1] == instruction("USER")
    assert "USER" not in {word for target in ("cpu", "cuda") for word, _ in instructions()[target]}


def test_compiling_opens_no_port() -> None:
    """The compiler's image needs no setting for callers, since it opens no port."""
    address = instruction("ENV", "compiler").removeprefix("CLASSWIRE_HOST=")
    settings_of({"CLASSWIRE_HOST": address}, [])


def test_ports_and_probe() -> None:
    """The image exposes the server's ports; its probe uses the Unix socket, which needs no TLS."""
    config = settings_of({}, ["--insecure"])
    assert instruction("EXPOSE").split() == [str(config.port), str(config.metrics_port)]
    assert json.loads(instruction("HEALTHCHECK").partition("CMD ")[2]) == HEALTH
    assert image_variables()["CLASSWIRE_TARGET"] == f"unix:{config.unix_socket}"
    writable = ("/tmp/", "/var/cache/classwire/")
    assert config.unix_socket.startswith(writable)
    assert config.compile_cache.startswith(writable)


def test_the_context_has_what_is_copied() -> None:
    """.dockerignore lets exactly the files through that the Dockerfile copies."""
    ignored = Path(DEPLOY.parent / ".dockerignore").read_text("utf-8").split()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for stage in instructions().values()
        for word, rest in stage
        if word == "COPY" and "--from" not in rest
        for source in shlex.split(rest)[:-1]
    }
    assert ignored[0] == "*"
    assert copied == let_through
    assert all((DEPLOY.parent / name).exists() for name in copied)


def test_the_compose_file() -> None:
    """The compose file runs the image on this machine only, read-only but for mounts, without
    capabilities, with limits and time to drain.
    """
    service = read(COMPOSE)["services"]["classwire"]
    config = settings_of(service["environment"], service["command"])
    assert service["ports"] == [
        f"127.0.0.1:{port}:{port}" for port in (config.port, config.metrics_port)
    ]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert {mount.partition(":")[0] for mount in service["tmpfs"]} == {"/tmp"}
    assert service["volumes"] == ["cache:/var/cache/classwire"]
    assert {"cpus", "mem_limit", "pids_limit"} <= service.keys()
    assert service["healthcheck"]["test"] == ["CMD", *HEALTH]
    assert int(service["stop_grace_period"].removesuffix("s")) >= config.drain_timeout_s + 10
    assert config.drain_timeout_s == ServerConfig().drain_timeout_s
    assert service["build"]["target"] in instructions()


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose isn't installed")
@pytest.mark.parametrize(
    ("variables", "problem"),
    [({INDEX: "https://example.com/cpu"}, ""), ({INDEX: ""}, ""), ({}, INDEX)],
)
def test_compose_reads_it(variables: dict[str, str], problem: str) -> None:
    """Compose accepts the file, and names the variable that the build needs if it is not set."""
    read = subprocess.run(
        ["docker-compose", "--file", str(COMPOSE), "config", "--quiet"],
        env={name: value for name, value in os.environ.items() if name != INDEX} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert bool(read.returncode) == bool(problem), read.stderr
    assert problem in read.stderr


def test_the_linter_passes() -> None:
    """Hadolint has no complaint about the Dockerfile."""
    linter = Path(sysconfig.get_path("scripts")) / "hadolint"
    linted = subprocess.run(
        [linter, DOCKERFILE],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert (linted.returncode, linted.stdout) == (0, "")
