"""The command as a whole: what it loads, how it fails, what its exit codes mean."""

import subprocess
import sys

import pytest

import classwire.cli
from classwire import __version__
from classwire.cli.failures import one_line
from tests.cli.conftest import Run


def test_the_version_is_the_packages(classwire: Run) -> None:
    """And nothing else is printed."""
    ended = classwire("--version")
    assert (ended.code, ended.out) == (0, f"classwire {__version__}\n")


def test_help_loads_neither_rich_nor_torch_nor_the_server() -> None:
    """So that it is instant, and works where only the client is installed."""
    check = (
        "import sys; from classwire.cli import main; main(['--help']);"
        "print('loaded:', *{'rich', 'torch', 'classwire_server'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True)
    assert b"serve " in found.stdout
    assert found.stdout.splitlines()[-1].strip() == b"loaded:"


def test_exit_codes_are_documented(classwire: Run) -> None:
    """In the help, where they are looked for."""
    out = classwire("--help").out
    for code in ("0 success", "1 the server", "2 wrong", "130 "):
        assert code in out.replace("\n", " ")


@pytest.mark.parametrize(
    "args", [["nonsense"], ["classify", "--nonsense"], ["classify", "--top-k", "x"]]
)
def test_wrong_use_is_one_line_and_exit_2(classwire: Run, args: list[str]) -> None:
    """It says where help is."""
    ended = classwire(*args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.complaint.endswith("--help'.")


def test_what_a_server_says_is_one_line_without_control() -> None:
    """Of an error's message, which may hold what anybody sent."""
    assert one_line("no such\nfolder: \x1b[31m\0é") == "no such folder: \\x1b[31m\\x00é"


def test_without_a_command_there_is_help(classwire: Run) -> None:
    """As for --help."""
    assert classwire() == classwire("--help")


def test_serve_is_the_servers_own_command(classwire: Run) -> None:
    """Its help lists the server's settings."""
    ended = classwire("serve", "--help")
    assert ended.code == 0
    assert "--port" in ended.out
    assert "--model" in ended.out


@pytest.mark.parametrize("command", [["serve"], ["serve", "--help"]])
def test_without_the_server_serve_says_what_to_install(
    classwire: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """The client's install has no server in it."""
    monkeypatch.setitem(sys.modules, "classwire_server", None)
    monkeypatch.delitem(sys.modules, "classwire_server.cli.serve", raising=False)
    ended = classwire(*command)
    assert (ended.code, ended.out) == (1, "")
    assert ended.complaint == (
        "the server is not installed; install it with: pip install 'classwire[server]'"
    )


def test_a_traceback_is_shown_only_when_asked_for(
    classwire: Run, unanswered_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CLASSWIRE_DEBUG=1 prints it before the line."""
    monkeypatch.setenv("CLASSWIRE_TARGET", unanswered_target)
    assert "Traceback" not in classwire("models").err
    monkeypatch.setenv("CLASSWIRE_DEBUG", "1")
    ended = classwire("models")
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1].startswith("classwire: no server answers")


def test_a_defect_is_one_line_too(classwire: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever went wrong, nobody but a developer is shown a traceback."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(classwire_models(), "callback", broken)
    ended = classwire("models")
    assert (ended.code, ended.complaint) == (1, "RuntimeError: two lines")


def classwire_models() -> object:
    """The `models` command."""
    return classwire.cli.command.commands["models"]


def test_a_closed_standard_output_changes_nothing(target: str) -> None:
    """With `>&-` the answer has nowhere to go; the command does its work and ends well."""
    command = f"{sys.executable} -m classwire classify --target {target} good >&-"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
