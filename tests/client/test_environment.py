"""`from_env`: a client from the command line's environment variables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from classwire import AsyncClient, Client, InvalidInputError
from classwire.cli import command
from classwire.testing import FakeServer


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets variables, without their common prefix."""

    def give(**variables: object) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"CLASSWIRE_{name}", str(value))

    return give


@pytest.fixture
def env_client() -> Any:
    """Return a factory of clients from the environment; close them after the test."""
    made: list[Client] = []

    def make(**arguments: Any) -> Client:
        made.append(Client.from_env(**arguments))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_target_timeout_and_token(
    given: Callable[..., None], env_client: Callable[..., Client], server: FakeServer
) -> None:
    """Target, timeout and token come from the variables, unless an argument replaces them."""
    given(TARGET=server.target, TIMEOUT_S=7, TOKEN="secret", ALLOW_PLAINTEXT_TOKEN="yes")
    env_client().classify("text")
    env_client(timeout_s=60, token="other").classify("text")
    first, second = server.calls
    assert (first.metadata["authorization"], second.metadata["authorization"]) == (
        "Bearer secret",
        "Bearer other",
    )
    assert first.time_left_s is not None
    assert second.time_left_s is not None
    assert first.time_left_s < 8 < second.time_left_s


def test_a_file_of_a_token_is_read_at_each_call(
    given: Callable[..., None],
    env_client: Callable[..., Client],
    server: FakeServer,
    tmp_path: Path,
) -> None:
    """The client reads the token file for each call, and prefers it to the token variable."""
    file = tmp_path / "token"
    given(TARGET=server.target, TOKEN_FILE=file, TOKEN="old", ALLOW_PLAINTEXT_TOKEN=1)
    client = env_client()
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        client.classify("text")
    shown = [call.metadata["authorization"] for call in server.calls]
    assert shown == ["Bearer one", "Bearer two"]


def test_a_file_of_a_token_that_cannot_be_read(
    given: Callable[..., None], env_client: Callable[..., Client], tmp_path: Path
) -> None:
    """The error of the call names the file and the cause."""
    given(TARGET="host:1", ALLOW_PLAINTEXT_TOKEN=1)
    for file, why in ((tmp_path / "none", "No such file"), (tmp_path, "Is a directory")):
        given(TOKEN_FILE=file)
        with pytest.raises(InvalidInputError, match=f"{file} cannot be read: {why}") as raised:
            env_client().classify("text")
        assert raised.value.field == "token"


def test_tls(given: Callable[..., None], tmp_path: Path) -> None:
    """The client reads TLS files when it is made; an empty variable counts as not set."""
    given(TLS="", TLS_CA="", TLS_CLIENT_CERT=tmp_path / "cert.pem")
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidInputError, match="go together"):
            kind.from_env()
    given(TLS_CLIENT_KEY=tmp_path / "key.pem")
    with pytest.raises(FileNotFoundError):
        Client.from_env()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TIMEOUT_S", "soon"),
        ("TIMEOUT_S", "-1"),
        ("TIMEOUT_S", "nan"),
        ("TLS", "maybe"),
        ("ALLOW_PLAINTEXT_TOKEN", "2"),
    ],
)
def test_a_variable_without_a_meaning(given: Callable[..., None], name: str, value: str) -> None:
    """An invalid variable raises an error that names it."""
    given(**{name: value})
    with pytest.raises(InvalidInputError, match=f"CLASSWIRE_{name} must be") as raised:
        Client.from_env()
    assert raised.value.field == f"CLASSWIRE_{name}"


def test_the_command_line_has_the_same_variables() -> None:
    """Each variable of `from_env`, except the token, belongs to an option of the command line."""
    options = {
        parameter.envvar
        for parameter in command.commands["classify"].params
        if isinstance(parameter, click.Option) and parameter.envvar
    }
    said = (Client.from_env.__doc__ or "").replace(",", " ").replace(".", " ").split()
    named = {word for word in said if word.startswith("CLASSWIRE_")}
    assert named == options | {"CLASSWIRE_TOKEN"}
