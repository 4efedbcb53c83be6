"""`classwire token`, and commands against a server with TLS and callers."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from classwire.contract.tokens import name_in
from classwire_server.config.security import SecuritySettings
from classwire_server.security.authenticator import Authenticator
from classwire_server.server import Server
from tests.cli.conftest import Run, classwire  # noqa: F401
from tests.security.conftest import Listen
from tests.security.files import Pair


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets CLASSWIRE_ variables of the environment."""

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"CLASSWIRE_{name}", value)

    return put


def test_a_new_token(classwire: Run, tmp_path: Path) -> None:  # noqa: F811
    """The command prints the token, and a valid entry for the callers file with its hash."""
    done = classwire("token", "new", "alice", "--model", "stars-en", "--text-tokens-per-s", "50")
    token, _, entry = done.out.partition("\n\n")
    assert done.code == 0
    assert name_in(token) == "alice"
    assert token not in entry

    file = tmp_path / "callers.toml"
    file.write_text(entry)
    caller = Authenticator(SecuritySettings(callers=str(file))).by_token(token).caller
    assert (caller.name, caller.models) == ("alice", frozenset({"stars-en"}))
    assert caller.rate.tokens_per_s == 50


def test_a_caller_is_added_to_a_file(classwire: Run, tmp_path: Path) -> None:  # noqa: F811
    """A new caller is appended. Existing entries stay the same, and names stay unique."""
    file = tmp_path / "callers.toml"
    tokens = [
        classwire("token", "new", name, "--callers", str(file)).out.strip()
        for name in ("alice", "bob")
    ]
    file.write_text(f"# ours\n{file.read_text()}")
    before = file.read_text()

    again = classwire("token", "new", "alice", "--callers", str(file))
    carol = classwire("token", "new", "carol", "--callers", str(file)).out.strip()

    assert again.code == 2
    assert "already has a caller alice" in again.complaint
    assert file.read_text().startswith(before.rstrip())
    assert list(tomllib.loads(file.read_text())) == ["alice", "bob", "carol"]
    access = Authenticator(SecuritySettings(callers=str(file)))
    names = [access.by_token(token).caller.name for token in (*tokens, carol)]
    assert names == ["alice", "bob", "carol"]


@pytest.mark.parametrize("name", ["Alice", "a_b", "", "a" * 64])
def test_an_invalid_name(classwire: Run, name: str) -> None:  # noqa: F811
    """The command rejects the name."""
    assert "not of the form" in classwire("token", "new", name).complaint


def test_making_a_token_imports_no_server() -> None:
    """The command needs only the client's package."""
    program = (
        "import sys; from classwire.cli import main; code = main(['token', 'new', 'alice']);"
        "heavy = [n for n in ('classwire_server', 'torch', 'grpc') if n in sys.modules];"
        "sys.exit(code or str(heavy) if heavy else code)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


def test_commands_with_tls_and_a_token(
    classwire: Run,  # noqa: F811
    listen: Listen,
    tmp_path: Path,
    pair: Pair,
    ca: Path,
    own: Callable[..., None],
) -> None:
    """TLS and token come from options or the environment. No option takes the token itself."""
    callers = tmp_path / "callers.toml"
    token = classwire("token", "new", "alice", "--callers", str(callers)).out.strip()
    server: Server = listen(**pair.settings, tls_client_ca=str(ca), callers=str(callers))
    own(TARGET=server.target, TLS_CLIENT_CERT=str(pair.cert), TLS_CLIENT_KEY=str(pair.key))

    own(TLS_CA=str(ca))
    assert "not that of a caller" in classwire("models").complaint
    own(TOKEN=token)
    assert "stars-en" in classwire("models").out
    own(TOKEN="wrong")
    assert "not known" in classwire("models").complaint
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    assert "stars-en" in classwire("models", "--token-file", str(file)).out


def test_a_command_sends_no_token_in_plain_text(
    classwire: Run,  # noqa: F811
    listen: Listen,
    own: Callable[..., None],
) -> None:
    """The error names the options that allow it."""
    own(TARGET=listen().target, TOKEN="a-secret")
    rejected = classwire("models")
    assert rejected.code == 2
    assert "--tls, or --allow-plaintext-token" in rejected.complaint
    assert "a-secret" not in rejected.err
    assert classwire("models", "--allow-plaintext-token").code == 0


def test_a_command_with_the_wrong_transport(
    classwire: Run,  # noqa: F811
    listen: Listen,
    pair: Pair,
    own: Callable[..., None],
) -> None:
    """The error suggests the cause, for plain text to a TLS server and the reverse."""
    own(TARGET=listen(**pair.settings).target)
    assert "does it ask for TLS" in classwire("models").complaint
    own(TARGET=listen().target)
    assert "it does not speak TLS" in classwire("models", "--tls").complaint
