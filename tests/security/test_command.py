"""`classwire token`, and commands against a server with TLS and callers."""

import datetime
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from classwire.contract.tokens import name_in
from classwire_server.config.security import SecuritySettings
from classwire_server.security.authenticator import Authenticator
from classwire_server.server import Server
from tests.cli.conftest import Run, classwire  # noqa: F401
from tests.security.conftest import Listen
from tests.security.files import HOST, Pair, ca_file


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
    assert classwire("models").complaint == (
        "the certificate is not that of a caller (--tls-cert or CLASSWIRE_TLS_CLIENT_CERT)"
    )
    own(TOKEN=token)
    assert "stars-en" in classwire("models").out
    own(TOKEN="wrong")
    assert classwire("models").complaint == (
        "the credentials are not known (--token-file or CLASSWIRE_TOKEN_FILE, or CLASSWIRE_TOKEN)"
    )
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
    """The error suggests the cause, for plain text to a TLS server and the reverse, and names the
    option and its variable.
    """
    setting = "(--tls or CLASSWIRE_TLS)"
    own(TARGET=listen(**pair.settings).target)
    assert classwire("models").complaint.endswith(f"does it ask for TLS? {setting}")
    own(TARGET=listen().target)
    assert classwire("models", "--tls").complaint.endswith(f"it does not speak TLS {setting}")


def test_a_command_at_another_port(
    classwire: Run,  # noqa: F811
    listen: Listen,
) -> None:
    """Each port of a server gets its own sentence from a command that needs another one."""
    server = listen(admin_port=0, metrics_port=0)
    for command, target, said in (
        (["health"], server.metrics_target, "does not speak gRPC; is it the metrics port, or"),
        (["classify", "a text"], server.admin_target, "does not have this method: it is another"),
        (["admin", "status"], server.target, "does not have this method: it is another port of"),
        (["admin", "status"], server.metrics_target, "does not speak gRPC"),
    ):
        ended = classwire(*command, "--target", target)
        assert (ended.code, ended.out) == (1, "")
        assert ended.complaint.startswith(f"{target} {said}")


@pytest.mark.parametrize("command", [["models"], ["health"], ["admin", "status"]])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b" \n", "contains no token: it is empty"),
        (b"\xff\xfe\x00", "contains no token: it is not ASCII"),
        (b"-----BEGIN CERTIFICATE-----\nZm9v\n", "contains no token: it has spaces or lines"),
    ],
    ids=["empty", "binary", "another file"],
)
def test_a_file_without_a_token(
    classwire: Run,  # noqa: F811
    unanswered_target: str,
    tmp_path: Path,
    command: list[str],
    content: bytes,
    said: str,
) -> None:
    """The error names the file, what is wrong with it, the option and its variables."""
    file = tmp_path / "token"
    file.write_bytes(content)
    options = ["--target", unanswered_target, "--token-file", str(file), "--allow-plaintext-token"]
    ended = classwire(*command, *options)
    assert ended.code == 2
    assert ended.complaint == (
        f"the token file {file} {said} (--token-file or CLASSWIRE_TOKEN_FILE, or CLASSWIRE_TOKEN)"
    )


@pytest.mark.parametrize("option", ["--token-file", "--tls-ca"])
def test_a_folder_in_place_of_a_file(
    classwire: Run,  # noqa: F811
    tmp_path: Path,
    option: str,
) -> None:
    """The error names the option, its variable and the folder."""
    ended = classwire("health", option, str(tmp_path))
    assert ended.code == 2
    variable = f"CLASSWIRE_{option.strip('-').replace('-', '_').upper()}"
    for named in (option, variable, str(tmp_path), "is a directory"):
        assert named in ended.complaint


def test_certificates_that_do_not_fit(
    classwire: Run,  # noqa: F811
    listen: Listen,
    tmp_path: Path,
    authority: trustme.CA,
    pair: Pair,
    ca: Path,
    own: Callable[..., None],
) -> None:
    """Of server and client: the error names the cause, the option and its variable."""
    past = datetime.datetime(2020, 1, 1)
    expired = Pair.at(
        tmp_path, authority.issue_cert(HOST, not_after=past, not_before=past.replace(2019))
    )
    key = Pair.at(tmp_path, authority.issue_cert(HOST), "other").key
    elsewhere = ca_file(tmp_path, trustme.CA())
    target = listen(**pair.settings, tls_client_ca=str(ca)).target

    def complaint(*options: object, target: str = target) -> str:
        return classwire("models", "--target", target, *map(str, options)).complaint

    assert complaint("--tls-ca", elsewhere).endswith(
        "no authority that is trusted here (--tls-ca or CLASSWIRE_TLS_CA)"
    )
    assert complaint("--tls-ca", ca, "--tls-server-name", "elsewhere").endswith(
        "for another name (--tls-server-name or CLASSWIRE_TLS_SERVER_NAME)"
    )
    with_expired = listen(**expired.settings).target
    assert complaint("--tls-ca", ca, target=with_expired).endswith("its certificate has expired")
    setting = "(--tls-cert or CLASSWIRE_TLS_CLIENT_CERT)"
    assert complaint("--tls-ca", ca).endswith(
        f"it may ask for a certificate that this client does not have {setting}"
    )
    own(TLS_CA=str(ca), TLS_CLIENT_CERT=str(expired.cert), TLS_CLIENT_KEY=str(expired.key))
    assert complaint().endswith(
        f"may not accept this client's certificate: expired, or of another authority {setting}"
    )
    encrypted = BestAvailableEncryption(b"a password")
    loaded = load_pem_private_key(key.read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encrypted))
    assert complaint("--tls-key", locked) == (
        f"the key in {locked} is encrypted (--tls-key or CLASSWIRE_TLS_CLIENT_KEY)"
    )
    assert complaint("--tls-key", key) == (
        f"{key} is not the key of {expired.cert} (--tls-key or CLASSWIRE_TLS_CLIENT_KEY)"
    )
