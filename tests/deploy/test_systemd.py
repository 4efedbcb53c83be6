"""The systemd unit and the example file of settings fit the server."""

import dataclasses
import re
import shlex
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import click
import pytest

from classwire.cli import command
from classwire.cli.serving import ServerCommand
from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import resolve
from scripts.settings_page import EXAMPLE, example
from tests.deploy.manifests import DEPLOY

UNIT = DEPLOY / "systemd" / "classwire.service"
PROGRAM = "/opt/classwire/bin/classwire"
ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture(scope="module")
def unit() -> dict[str, list[str]]:
    """Return the values of each setting of the unit, in order."""
    found = defaultdict(list)
    for name, value in re.findall(r"^(\w+)=(.*)$", UNIT.read_text("utf-8"), re.MULTILINE):
        found[name].append(value)
    return found


@pytest.fixture(scope="module")
def variables(unit: dict[str, list[str]]) -> dict[str, str]:
    """Return the environment that the unit sets."""
    return dict(pair.split("=", 1) for pair in unit["Environment"])


def options(line: str) -> dict[str, object]:
    """Return the options of a `classwire` command, parsed as the command line parses them."""
    program, name, *arguments = shlex.split(line)
    assert program == PROGRAM
    found = command.commands[name]
    found = found.load() if isinstance(found, ServerCommand) else found
    return found.make_context(name, arguments).params


def test_the_example_is_up_to_date() -> None:
    """The file lists every setting of the current definitions."""
    assert EXAMPLE.read_text("utf-8") == example(), "run: python -m scripts.settings_page"


def test_every_line_of_the_example_may_be_used(tmp_path: Path) -> None:
    """With all settings uncommented the file gives the defaults, and as it is it sets nothing."""
    text = EXAMPLE.read_text("utf-8")
    uncommented, settings = re.subn(r"^#(?=\w)", "", text, flags=re.MULTILINE)
    (tmp_path / "all.toml").write_text(uncommented, "utf-8")

    assert settings == len(dataclasses.fields(ServerConfig))
    assert resolve({}, {}, str(tmp_path / "all.toml")) == ServerConfig()
    assert resolve({}, {}, str(EXAMPLE)) == ServerConfig()


def test_commands_of_the_unit_exist(unit: dict[str, list[str]]) -> None:
    """The command line accepts the commands of the unit. The start waits for every model, and
    ends before systemd's own limit.
    """
    (serve,), (wait,) = unit["ExecStart"], unit["ExecStartPost"]
    assert options(serve)["config"] == f"/etc/{unit['ConfigurationDirectory'][0]}/{EXAMPLE.name}"
    (health,) = re.findall(rf"until ({PROGRAM} [^;]+);", wait)
    assert isinstance(options(health)["wait_s"], float)
    with pytest.raises(click.NoSuchOption):
        options(f"{serve} --no-such-option")


def test_paths_of_the_unit_are_writable(
    unit: dict[str, list[str]], variables: dict[str, str]
) -> None:
    """The server writes only into folders that systemd makes for its user, which is not root. The
    health check uses the server's Unix socket.
    """
    config = resolve({}, variables, str(EXAMPLE))
    cache = Path("/var/cache", *unit["CacheDirectory"])
    assert unit["User"] == unit["Group"] == ["classwire"]
    assert unit["ProtectSystem"] == ["strict"]
    assert Path(config.unix_socket).parent == Path("/run", *unit["RuntimeDirectory"])
    assert Path(config.compile_cache).parent == Path(variables["HF_HOME"]).parent == cache
    assert variables["CLASSWIRE_TARGET"] == f"unix:{config.unix_socket}"
    known = {f"CLASSWIRE_{field.name.upper()}" for field in dataclasses.fields(config)}
    assert {name for name in variables if name.startswith("CLASSWIRE_")} <= known | {
        "CLASSWIRE_TARGET"
    }


def test_the_unit_leaves_the_end_to_the_server(unit: dict[str, list[str]]) -> None:
    """SIGTERM goes to the server alone, with time to drain. A lost worker does not end the unit,
    a wrong setting is not tried again, and the code that torch writes at run time may run.
    """
    assert unit["KillMode"] == ["mixed"]
    assert "KillSignal" not in unit
    assert int(unit["TimeoutStopSec"][0]) >= ServerConfig().drain_timeout_s + 10
    assert unit["OOMPolicy"] == ["continue"]
    assert (unit["Restart"], unit["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
    assert "MemoryDenyWriteExecute" not in unit


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` knows every setting of the unit, and finds its programs."""
    installed = tmp_path / UNIT.name
    installed.write_text(UNIT.read_text("utf-8").replace(PROGRAM, sys.executable), "utf-8")
    verified = subprocess.run(
        [ANALYZE or "", "verify", "--man=no", "--recursive-errors=no", str(installed)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
