"""Forward proxies of the environment."""

from collections.abc import Callable
from typing import Any

import pytest

from classwire import UnavailableError
from classwire._connection.channel import channel_options
from classwire._connection.proxy import proxy_of
from classwire.testing import FakeServer

MakeClient = Callable[..., Any]
PROXY = "proxy.example:3128"
USER = "user:secret"
URI = f"http://{USER}@{PROXY}"


@pytest.fixture(autouse=True)
def proxied(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets variables, where none of a proxy is set."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "grpc_proxy"])
def test_this_machine_is_reached_directly(
    make_client: MakeClient,
    server: FakeServer,
    unanswered_target: str,
    proxied: Callable[..., None],
    name: str,
) -> None:
    """A client of a loopback address ignores the proxy."""
    proxied(**{name: f"http://{unanswered_target}"})
    port = server.target.rpartition(":")[2]
    for target in (server.target, f"localhost:{port}", [server.target, server.target]):
        assert make_client(target).classify("text").label == "long"


def test_an_error_names_the_proxy(
    make_client: MakeClient, unanswered_target: str, proxied: Callable[..., None]
) -> None:
    """The error of a failed connection names the proxy and its variable, not its credentials."""
    proxied(https_proxy=f"http://{USER}@{unanswered_target}")
    client = make_client("classwire.example:1", retry=False)
    with pytest.raises(UnavailableError) as raised:
        client.classify("text")
    assert raised.value.message == (
        f"through the proxy {unanswered_target} (https_proxy): "
        f"no server answers at classwire.example:1 (connection refused at {unanswered_target})"
    )


@pytest.mark.parametrize(
    ("variables", "target", "proxy"),
    [
        ({"http_proxy": URI}, "host:1", f"{PROXY} (http_proxy)"),
        ({"http_proxy": "http://b:1", "https_proxy": URI}, "host:1", f"{PROXY} (https_proxy)"),
        ({"grpc_proxy": "", "https_proxy": URI}, "host:1", None),
        ({"https_proxy": f"https://{PROXY}"}, "host:1", None),
        ({"https_proxy": URI, "no_proxy": "a, .example"}, "dns:///a.Example:1", None),
        ({"https_proxy": URI, "no_proxy": "10.0.0.0/8"}, "10.1.2.3:1", None),
        ({"https_proxy": URI, "no_proxy": "10.0.0.0/8"}, "11.1.2.3:1", f"{PROXY} (https_proxy)"),
        (
            {"https_proxy": URI, "no_proxy": "host", "no_grpc_proxy": "b"},
            "host:1",
            f"{PROXY} (https_proxy)",
        ),
        ({"https_proxy": URI}, "127.1.2.3:1", None),
        ({"https_proxy": URI}, "[::1]:1", None),
        ({"https_proxy": URI}, "dns:///localhost:1", None),
        ({"https_proxy": URI}, "unix:/run/classwire.sock", None),
        ({"https_proxy": URI}, "ipv4:10.0.0.1:1,10.0.0.2:1", None),
    ],
)
def test_which_proxy(
    proxied: Callable[..., None], variables: dict[str, str], target: str, proxy: str | None
) -> None:
    """The first variable that is set names the proxy, unless the target is excepted or local."""
    proxied(**variables)
    assert proxy_of(target, channel_options((), target=target)) == proxy


def test_the_callers_options_win(proxied: Callable[..., None]) -> None:
    """Options of the channel turn the proxy off, or name another."""
    proxied(https_proxy=URI)
    options = channel_options([("grpc.enable_http_proxy", 0)], target="host:1")
    assert proxy_of("host:1", options) is None
    options = channel_options([("grpc.http_proxy", "http://other:1")], target="host:1")
    assert proxy_of("host:1", options) == "other:1 (grpc.http_proxy)"
