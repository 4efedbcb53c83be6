"""What operators see of gRPC's transport: servers, connections and calls."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_channelz.v1 import channelz_pb2 as pb

from classwire import Client
from classwire._tokens import new_token
from classwire.v1.classwire_pb2 import ListModelsRequest
from classwire.v1.classwire_pb2_grpc import ModelServiceStub
from classwire_server.admin import channelz
from classwire_server.config import ServerConfig
from classwire_server.errors import ConfigError
from classwire_server.lifecycle import Server
from tests.admin.operator import refusal
from tests.admin.transport import Transport, local_port, remote_port
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.http2 import PREFACE, settings
from tests.security.files import HOST, Pair, ca_file, callers_toml, replace

Connect = Callable[[str], grpc.Channel]
Fake = Callable[..., Server]

SERVICE = pb.DESCRIPTOR.services_by_name["Channelz"]
NOWHERE = 1 << 62
"""An id that nothing has."""
BY_ID = {
    "GetServer": "server_id",
    "GetServerSockets": "server_id",
    "GetChannel": "channel_id",
    "GetSubchannel": "subchannel_id",
    "GetSocket": "socket_id",
}


@pytest.fixture
def told(fake: Fake) -> Server:
    """A server that serves channelz."""
    return fake(FakeEngine((0, 1)), channelz=True)


@pytest.fixture
def transport(told: Server, connect: Connect) -> Transport:
    """Its channelz."""
    return Transport(connect(told.admin_target))


def test_servers_are_listed_with_their_calls(
    told: Server, fake: Fake, transport: Transport, connect: Connect
) -> None:
    """Both that a server has, the one for calls and the operators' own, but none of a server that
    was not told to; each is the same when asked for by itself.
    """
    silent = fake(FakeEngine((0, 1)))
    channel = connect(told.target)
    for each in (channel, channel, connect(silent.target)):
        _call(each)
    by_port = {local_port(each.socket): each.server_id for each in transport.connections()}
    assert silent.port not in by_port
    assert {told.port, _port(told.admin_target)} <= by_port.keys()

    server_id = by_port[told.port]
    all_servers = transport.stub.GetServers(pb.GetServersRequest()).server
    (listed,) = (each for each in all_servers if each.ref.server_id == server_id)
    alone = transport.stub.GetServer(pb.GetServerRequest(server_id=server_id)).server
    assert alone.ref == listed.ref
    assert alone.data.calls_started == listed.data.calls_started == 2


def test_a_connection_says_who_is_there(told: Server, transport: Transport) -> None:
    """Its two addresses, from when it is made until it is closed; then there is no such socket."""
    with _connected(told) as client:
        host, port = client.getsockname()
        assert eventually(lambda: bool(transport.of(port)))
        ((_, connection),) = transport.of(port)
        assert socket.inet_ntoa(connection.remote.tcpip_address.ip_address) == host
        assert local_port(connection) == told.port
    assert eventually(lambda: not transport.of(port))
    with pytest.raises(grpc.RpcError) as caught:
        transport.socket(connection.ref.socket_id)
    assert _code(caught) is grpc.StatusCode.NOT_FOUND


def test_a_connection_counts_its_calls(
    told: Server, transport: Transport, connect: Connect
) -> None:
    """And their messages."""
    channel = connect(told.target)
    for _ in range(3):
        _call(channel)
    ((_, connection),) = transport.to(told.port)
    assert connection.data.streams_started == 3
    assert connection.data.messages_received == 3


def test_channels_of_the_process_are_told_too(told: Server, transport: Transport) -> None:
    """With what connects them; here those of the test, which runs in the same process."""
    port = _port(told.admin_target)
    ask = transport.stub
    channels = ask.GetTopChannels(pb.GetTopChannelsRequest()).channel
    (listed,) = (each for each in channels if each.data.target.endswith(f":{port}"))
    channel = ask.GetChannel(pb.GetChannelRequest(channel_id=listed.ref.channel_id)).channel
    assert (channel.ref, channel.data.target) == (listed.ref, listed.data.target)
    (below,) = channel.subchannel_ref
    request = pb.GetSubchannelRequest(subchannel_id=below.subchannel_id)
    subchannel = ask.GetSubchannel(request).subchannel
    assert subchannel.data.state.state == pb.ChannelConnectivityState.READY
    (ref,) = subchannel.socket_ref
    assert remote_port(transport.socket(ref.socket_id)) == port


def test_lists_come_in_parts(told: Server, transport: Transport) -> None:
    """From the id on that the caller names, and of sockets as many as it wants."""
    ask = transport.stub
    last = max(each.ref.server_id for each in ask.GetServers(pb.GetServersRequest()).server)
    rest = ask.GetServers(pb.GetServersRequest(start_server_id=last))
    assert [each.ref.server_id for each in rest.server] == [last]
    assert not ask.GetServers(pb.GetServersRequest(start_server_id=last + 1)).server
    assert not ask.GetTopChannels(pb.GetTopChannelsRequest(start_channel_id=NOWHERE)).channel

    with _connected(told), _connected(told):
        assert eventually(lambda: len(transport.to(told.port)) == 2)
        first, second = sorted(each.socket.ref.socket_id for each in transport.to(told.port))
        server_id = transport.to(told.port)[0].server_id
        request = pb.GetServerSocketsRequest(server_id=server_id, max_results=1)
        part = ask.GetServerSockets(request)
        assert ([ref.socket_id for ref in part.socket_ref], part.end) == ([first], False)
        request.start_socket_id = first + 1
        part = ask.GetServerSockets(request)
        assert ([ref.socket_id for ref in part.socket_ref], part.end) == ([second], True)


def test_what_is_not_there_is_not_found(transport: Transport) -> None:
    """The code says so and the text which id; there is no reason of ours, the service is not."""
    for method, field in BY_ID.items():
        for absent in (NOWHERE, -1):
            request = getattr(pb, f"{method}Request")(**{field: absent})
            with pytest.raises(grpc.RpcError) as caught:
                getattr(transport.stub, method)(request)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.NOT_FOUND
            assert f"{field}=={absent}" in error.details()
            assert "grpc-status-details-bin" not in dict(error.trailing_metadata())


def test_what_cannot_be_read_of_grpc_is_a_defect(
    fake: Fake, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told so, and nothing of what it was."""
    monkeypatch.setitem(channelz._QUERIES, "GetServers", (lambda _: b"\xff", ("start_server_id",)))
    server = fake(FakeEngine((0, 1)), channelz=True)
    with pytest.raises(grpc.RpcError) as caught:
        Transport(connect(server.admin_target)).stub.GetServers(pb.GetServersRequest())
    assert refusal(caught.value)[:2] == ("INTERNAL", "INTERNAL")


def test_bytes_that_are_no_message(told: Server, connect: Connect) -> None:
    """They are refused as those of every service are."""
    channel = connect(told.admin_target)
    for method in SERVICE.methods_by_name:
        call: Any = channel.unary_unary(_path(method))
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff", timeout=PATIENCE_S)
        assert refusal(caught.value)[:2] == ("INVALID_ARGUMENT", "BAD_ENCODING")


def test_only_callers_who_may_administer_ask(tmp_path: Path, fake: Fake, connect: Connect) -> None:
    """Others are refused before their message is waited for."""
    tokens = {name: new_token(name) for name in ("boss", "user")}
    shown = {name: (("authorization", f"Bearer {token}"),) for name, token in tokens.items()}
    entries = {name: {"tokens": (token,)} for name, token in tokens.items()}
    callers = tmp_path / "callers.toml"
    replace(callers, callers_toml(entries).replace(b"[boss]\n", b"[boss]\nadmin = true\n"))
    server = fake(FakeEngine((0, 1)), channelz=True, callers=str(callers))
    channel = connect(server.admin_target)
    over = threading.Event()

    def silence() -> Iterator[bytes]:
        over.wait(PATIENCE_S)
        yield from ()

    try:
        for method in SERVICE.methods_by_name:
            call: Any = channel.stream_unary(_path(method))
            error = call.future(silence(), metadata=shown["user"]).exception(PATIENCE_S)
            assert refusal(error)[:2] == ("PERMISSION_DENIED", "NOT_ALLOWED")
    finally:
        over.set()
    ask = Transport(channel).stub
    with pytest.raises(grpc.RpcError) as caught:
        ask.GetServers(pb.GetServersRequest())
    assert refusal(caught.value)[:2] == ("UNAUTHENTICATED", "MISSING_CREDENTIALS")
    assert ask.GetServers(pb.GetServersRequest(), metadata=shown["boss"]).server


def test_with_tls_a_connection_tells_its_certificate(tmp_path: Path, fake: Fake) -> None:
    """It is asked for by TLS as well, and tells the certificate that a caller has shown."""
    authority = trustme.CA()
    ca = ca_file(tmp_path, authority)
    pair = Pair.at(tmp_path, authority.issue_cert(HOST))
    mine = Pair.at(tmp_path, authority.issue_cert("client.test"), "client")
    server = fake(FakeEngine((0, 1)), channelz=True, tls_client_ca=str(ca), **pair.settings)
    credentials = grpc.ssl_channel_credentials(
        ca.read_bytes(), mine.key.read_bytes(), mine.cert.read_bytes()
    )
    with (
        Client(server.target, tls=mine.shown_to(ca)) as client,
        grpc.secure_channel(server.admin_target, credentials) as channel,
    ):
        client.models()
        ((_, connection),) = Transport(channel).to(server.port)
        shown = connection.security.tls.remote_certificate
        assert shown.split() == mine.cert.read_bytes().split()


def test_calls_of_it_are_observed(
    fake: Fake, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """By their names, as all of the port."""
    server = fake(FakeEngine((0, 1)), channelz=True, access_log=True)

    def observed() -> list[tuple[str, str]]:
        ended = (vars(each) for each in caplog.records)
        return [(each["method"], each["code"]) for each in ended if "method" in each]

    with caplog.at_level(logging.INFO, "classwire_server.access_log"):
        Transport(connect(server.admin_target)).stub.GetServers(pb.GetServersRequest())
        assert eventually(lambda: (f"{SERVICE.full_name}/GetServers", "OK") in observed())


def test_there_is_none_unless_asked_for(fake: Fake, told: Server, connect: Connect) -> None:
    """Not on the admin port, and never on the port of calls."""
    silent = fake(FakeEngine((0, 1)))
    for target in (silent.admin_target, silent.target, told.target):
        with pytest.raises(grpc.RpcError) as caught:
            Transport(connect(target)).stub.GetServers(pb.GetServersRequest())
        assert _code(caught) is grpc.StatusCode.UNIMPLEMENTED


def test_it_needs_the_admin_port() -> None:
    """There is no other that it is served on; the setting is named."""
    with pytest.raises(ConfigError, match=r"--channelz.*--admin-port"):
        ServerConfig(channelz=True)
    ServerConfig(channelz=True, admin_port=0)


def _path(method: str) -> str:
    return f"/{SERVICE.full_name}/{method}"


def _call(channel: grpc.Channel) -> None:
    stub: Any = ModelServiceStub(channel)
    stub.ListModels(ListModelsRequest(), timeout=PATIENCE_S)


def _code(caught: pytest.ExceptionInfo[grpc.RpcError]) -> grpc.StatusCode:
    error: Any = caught.value
    code: grpc.StatusCode = error.code()
    return code


def _port(target: str) -> int:
    return int(target.rpartition(":")[2])


def _connected(server: Server) -> socket.socket:
    """A client that has connected, and asks for nothing."""
    client = socket.create_connection((HOST, server.port), PATIENCE_S)
    client.sendall(PREFACE + settings().encode())
    return client
