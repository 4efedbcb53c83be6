"""Access to the admin service: callers and addresses."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from classwire.contract.tokens import new_token
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import ConfigError
from classwire_server.server import Server
from tests.admin.operator import Operator, refusal
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.security.files import HOST, Pair, callers_toml, replace

EVERYWHERE = "0.0.0.0"


def test_only_administrators_have_access(tmp_path: Path, red: Path) -> None:
    """With TLS and callers, only callers with admin = true have access."""
    authority = trustme.CA()
    pair = Pair.at(tmp_path, authority.issue_cert(HOST))
    tokens = {name: new_token(name) for name in ("boss", "user")}
    entries = {name: {"tokens": (token,)} for name, token in tokens.items()}
    callers = tmp_path / "callers.toml"
    replace(callers, callers_toml(entries).replace(b"[boss]\n", b"[boss]\nadmin = true\n"))
    config = ServerConfig(
        port=0, admin_port=0, model=(f"m={red}",), callers=str(callers), **pair.settings
    )
    with Server(config, FakeEngine((0, 1)).launch) as server:
        trusted = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        with grpc.secure_channel(server.admin_target, trusted) as channel:

            def asked_by(*metadata: tuple[str, str]) -> tuple[str, str]:
                try:
                    Operator(channel, metadata).status()
                except grpc.RpcError as error:
                    return refusal(error)[:2]
                return "OK", ""

            def bearer(token: str) -> tuple[str, str]:
                return "authorization", f"Bearer {token}"

            assert asked_by(bearer(tokens["boss"])) == ("OK", "")
            assert asked_by(bearer(tokens["user"])) == ("PERMISSION_DENIED", "NOT_ALLOWED")
            assert asked_by(bearer(new_token("boss"))) == ("UNAUTHENTICATED", "BAD_CREDENTIALS")
            assert asked_by() == ("UNAUTHENTICATED", "MISSING_CREDENTIALS")


def test_a_rejected_caller_holds_no_thread(tmp_path: Path) -> None:
    """The server rejects such calls without waiting for their message."""
    token = new_token("user")
    callers = tmp_path / "callers.toml"
    replace(callers, callers_toml({"user": {"tokens": (token,)}}))
    server = Server(ServerConfig(port=0, admin_port=0, callers=str(callers)))
    over = threading.Event()

    def silence() -> Iterator[bytes]:
        over.wait(PATIENCE_S)
        yield from ()

    with ExitStack() as left:
        left.callback(server.stop, 0)
        server.listen()
        channel = left.enter_context(grpc.insecure_channel(server.admin_target))
        left.callback(over.set)
        how = {"metadata": [("authorization", f"Bearer {token}")]}
        for method in ("GetStatus", "LoadModel", "ListPoisonInputs", "ClearPoisonInputs"):
            call: Any = channel.stream_unary(f"/classwire.admin.v1.AdminService/{method}")
            error = call.future(silence(), **how).exception(PATIENCE_S)
            assert refusal(error)[:2] == ("PERMISSION_DENIED", "NOT_ALLOWED")


def test_admin_is_true_or_false(tmp_path: Path) -> None:
    """Any other value is an error at start."""
    callers = tmp_path / "callers.toml"
    entry = callers_toml({"boss": {"tokens": (new_token("boss"),)}})
    replace(callers, entry + b'\nadmin = "yes"\n')
    with pytest.raises(ConfigError, match="boss: admin is neither true nor false"):
        Server(ServerConfig(port=0, callers=str(callers)))


def test_no_admin_service_by_default() -> None:
    """Without --admin-port, the server has no admin service."""
    server = Server(ServerConfig(port=0), FakeEngine((0, 1)).launch)
    server.listen()
    assert not server.admin_target
    server.stop(0)


def test_beyond_loopback_it_needs_tls_and_callers(tmp_path: Path) -> None:
    """Or it needs --insecure. The error names the setting."""
    files: dict[str, Any] = {}
    for name in ("tls_cert", "tls_key", "callers"):
        files[name] = str(tmp_path / name)
        Path(files[name]).touch()
    tls = {name: files[name] for name in ("tls_cert", "tls_key")}
    some: dict[str, Any]
    for some in ({}, tls, {"callers": files["callers"]}):
        with pytest.raises(ConfigError, match="--admin-host"):
            ServerConfig(admin_port=0, admin_host=EVERYWHERE, **some)
    ServerConfig(admin_port=0, admin_host=EVERYWHERE, **files)
    ServerConfig(admin_port=0, admin_host=EVERYWHERE, insecure=True)
    ServerConfig(admin_host=EVERYWHERE)
