"""The command as a whole: what it loads, how it fails, and its exit codes."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

import classwire.__main__ as entry
import classwire.cli
from classwire import Reason, __version__
from classwire.cli.failures import one_line
from classwire.testing import FakeServer
from tests.cli.conftest import Run


def test_the_version_is_the_packages(classwire: Run) -> None:
    """`--version` prints the package's version alone."""
    ended = classwire("--version")
    assert (ended.code, ended.out) == (0, f"classwire {__version__}\n")


def test_help_loads_neither_rich_nor_torch_nor_the_server() -> None:
    """`--help` loads neither rich, nor torch, nor the server."""
    check = (
        "import sys; from classwire.cli import main; main(['--help']);"
        "print('loaded:', *{'rich', 'torch', 'classwire_server'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True)
    assert b"serve " in found.stdout
    assert found.stdout.splitlines()[-1].strip() == b"loaded:"


def test_help_groups_the_commands(classwire: Run) -> None:
    """`--help` has each command once, in the group of what it is for."""
    shown = classwire("--help").out.partition("Options:")[2].partition("\n\n  Exit codes")[0]
    _, *groups = re.split(r"^(\w+):\n", shown, flags=re.MULTILINE)
    found = {
        title: [line.split()[0] for line in lines.splitlines() if line.startswith("  ")]
        for title, lines in zip(groups[::2], groups[1::2], strict=True)
    }
    assert found["Serve"] == ["serve", "compile", "doctor", "ray"]
    assert found["Try"] == ["demo"]
    listed = [name for names in found.values() for name in names]
    assert sorted(listed) == sorted(command_names())


@pytest.mark.parametrize(
    ("command", "option", "default"),
    [
        ("classify", "--model", "the server's default"),
        ("models", "--model", "all"),
        ("health", "--model", "the server as a whole"),
        ("demo", "--target", "a server of the demo's own"),
    ],
)
def test_help_names_the_default(classwire: Run, command: str, option: str, default: str) -> None:
    """The help of an option names the default that it has in this command, and no other."""
    shown = " ".join(classwire(command, "--help").out.split())
    assert re.search(rf"{option} \w+ [^\[]*\[default: {default}\] (?!\[[^\]]*default:)", shown)


def test_exit_codes_are_documented(classwire: Run) -> None:
    """`--help` documents the exit codes."""
    out = classwire("--help").out
    for code in ("0 success", "1 the server", "2 wrong", "130 "):
        assert code in out.replace("\n", " ")


@pytest.mark.parametrize(
    "args", [["nonsense"], ["classify", "--nonsense"], ["classify", "--top-k", "x"]]
)
def test_wrong_use_is_one_line_and_exit_2(classwire: Run, args: list[str]) -> None:
    """Wrong usage is one line that names `--help`, with exit code 2."""
    ended = classwire(*args)
    assert (ended.code, ended.out) == (2, "")
    assert ended.complaint.endswith("--help'.")


def test_a_servers_message_is_one_line_without_control_characters() -> None:
    """A server's error message prints as one line without control characters."""
    assert one_line("no such\nfolder: \x1b[31m\0é") == "no such folder: \\x1b[31m\\x00é"


def test_without_a_command_there_is_help(classwire: Run) -> None:
    """Without a command it prints the help."""
    assert classwire() == classwire("--help")


def test_serve_is_the_servers_own_command(classwire: Run) -> None:
    """`classwire serve --help` lists the server's settings."""
    ended = classwire("serve", "--help")
    assert ended.code == 0
    assert "--port" in ended.out
    assert "--model" in ended.out


@pytest.mark.parametrize("command", [["serve"], ["serve", "--help"], ["demo"]])
@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (None, "install it with: pip install 'classwire[server]'"),
        (
            '{"url": "file://CHECKOUT/client", "dir_info": {}}',
            "install it with: pip install --constraint CHECKOUT/requirements.lock CHECKOUT",
        ),
        (
            '{"url": "https://host.example/classwire.whl", "archive_info": {}}',
            f"install classwire-server {__version__} from the same place as this client",
        ),
    ],
    ids=["index", "checkout", "wheel"],
)
def test_without_the_server_serve_names_the_package(
    classwire: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: list[str],
    origin: str | None,
    said: str,
) -> None:
    """Without the server, its commands say how to install it where the client comes from: an
    index, a checkout, or neither.
    """
    packages = tmp_path / "packages" / "classwire-0.1.0.dist-info"
    packages.mkdir(parents=True)
    (packages / "METADATA").write_text("Metadata-Version: 2.1\nName: classwire\nVersion: 0.1.0\n")
    if origin is not None:
        (packages / "direct_url.json").write_text(origin.replace("CHECKOUT", f"{tmp_path}"))
    (tmp_path / "requirements.lock").touch()
    monkeypatch.syspath_prepend(packages.parent)
    monkeypatch.setitem(sys.modules, "classwire_server", None)
    for loaded in [each for each in sys.modules if each.startswith("classwire_server.cli")]:
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    ended = classwire(*command)
    assert (ended.code, ended.out) == (1, "")
    assert ended.complaint == (
        f"the server is not installed; {said.replace('CHECKOUT', str(tmp_path))}"
    )


def test_a_traceback_is_shown_only_when_asked_for(
    classwire: Run, unanswered_target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback is printed before the error only with CLASSWIRE_DEBUG=1."""
    monkeypatch.setenv("CLASSWIRE_TARGET", unanswered_target)
    assert "Traceback" not in classwire("models").err
    monkeypatch.setenv("CLASSWIRE_DEBUG", "1")
    ended = classwire("models")
    assert "Traceback" in ended.err
    assert ended.err.splitlines()[-1].startswith("classwire: no server answers")


def test_a_server_without_models(classwire: Run) -> None:
    """Without --model, an unknown model is the server's default, and its own message is shown."""
    with FakeServer(["yes"]) as server:
        for option, said in (([], "UNKNOWN_MODEL"), (["--model", "m"], "no model named 'm'")):
            server.fail_next(Reason.UNKNOWN_MODEL)
            ended = classwire("classify", "text", "--target", server.target, *option)
            assert ended.code == 2
            assert said in ended.complaint


def test_a_defect_is_one_line_too(classwire: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the command prints one line, without a traceback."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(classwire_models(), "callback", broken)
    ended = classwire("models")
    assert (ended.code, ended.complaint) == (1, "RuntimeError: two lines")


def command_names() -> list[str]:
    """Return the names of all commands."""
    return list(classwire.cli.command.commands)


def classwire_models() -> object:
    """Run the `models` command."""
    return classwire.cli.command.commands["models"]


def test_a_closed_standard_output_changes_nothing(target: str) -> None:
    """With a closed standard output the command does its work and exits with 0."""
    command = f"{sys.executable} -m classwire classify --target {target} good >&-"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["cla"], {"classify"}),
        (["classify", "--activation", "s"], {"softmax", "sigmoid"}),
        (["serve", "--max-st"], {"--max-streams"}),
        (["doctor", "--ba"], {"--batch-tokens"}),
        (["serve", "--model", "./ck"], {"dir,./ck"}),
        (["serve", "--config", "se"], {"file,se"}),
    ],
)
def test_a_shell_completes_commands_and_options(words: list[str], expected: set[str]) -> None:
    """A shell completes commands, options and their values, and loads nothing heavy for it."""
    typed = {"COMP_WORDS": " ".join(["classwire", *words]), "COMP_CWORD": str(len(words))}
    check = (
        "import sys\nfrom classwire.cli import main\ntry: main([])\nfinally: "
        "print('loaded:', *{'rich', 'grpc', 'torch', 'numpy'} & set(sys.modules))"
    )
    environment = {**os.environ, **typed, "_CLASSWIRE_COMPLETE": "bash_complete"}
    command = [sys.executable, "-c", check]
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    *completed, loaded = done.stdout.splitlines()
    assert {line.removeprefix("plain,") for line in completed} == expected
    assert loaded.strip() == "loaded:"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(classwire: Run, shell: str) -> None:
    """The script makes a shell ask this command."""
    ended = classwire("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_CLASSWIRE_COMPLETE={shell}_complete" in ended.out


def test_completion_without_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the server, its commands have no options to complete, and print no error."""
    monkeypatch.setitem(sys.modules, "classwire_server", None)
    complete = ShellComplete(classwire.cli.command, {}, "classwire", "_CLASSWIRE_COMPLETE")
    assert complete.get_completions(["serve"], "--po") == []


def test_ctrl_c_during_the_imports_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C while Python still imports the commands ends with one line, as later."""

    class Interrupting(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name == "classwire.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "classwire.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert entry.main() == 130
    assert capsys.readouterr() == ("", "classwire: interrupted\n")


def test_nothing_is_imported_before_ctrl_c_is_handled() -> None:
    """Before `main` Python imports only the package, which imports nothing else: Ctrl-C in an
    import there would print a traceback.
    """
    program = (
        "import sys\nbefore = set(sys.modules)\nimport classwire.__main__\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["classwire", "classwire.__main__", "classwire._version"]


def test_both_ways_to_start_the_command_are_one() -> None:
    """The script that pip installs calls the same function as `python -m classwire`."""
    project = tomllib.loads(Path("client/pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"classwire": f"{entry.__name__}:{entry.main.__name__}"}
