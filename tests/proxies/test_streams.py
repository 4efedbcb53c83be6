"""Long, idle and old streams through a proxy."""

import re
from collections.abc import Callable, Iterator
from itertools import count

import grpc
import pytest
from grpc_status import rpc_status

from classwire import Classification, Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from tests.contract.conversation import Conversation, item
from tests.contract.engines import FakeEngine, eventually, readers
from tests.contract.failures import reason_in
from tests.proxies.conftest import StartProxy
from tests.proxies.proxy import PROXIES, Nginx, Proxy

ConnectBy = Callable[..., Client]
ChannelBy = Callable[[Proxy], grpc.Channel]

ServeOne = Callable[..., str]

SHIPPED_IDLE_TIMEOUT = "15m"
"""Every idle timeout in the shipped configurations."""
SHORT_IDLE_TIMEOUT = {SHIPPED_IDLE_TIMEOUT: "500ms"}


@pytest.fixture
def serve_one(serve: Callable[..., Server], servers: list[Server]) -> ServeOne:
    """Starts a server with these settings; returns its address."""
    model = servers[0].config.model
    return lambda **settings: serve(FakeEngine().launch, model=model, **settings).target


def test_long_streams(proxy: Proxy, connect_by: ConnectBy) -> None:
    """Every text gets its result, in order; together they exceed every buffer on the way."""
    texts = [f"{number} {'a' * 1_500}" for number in range(1_000)]

    found = list(connect_by(proxy).classify_stream(texts, in_order=True))

    assert [result.id for result in found] == [str(number) for number in range(len(texts))]
    assert all(isinstance(outcome, Classification) for _, _, outcome in found)


def test_results_are_not_held_back(proxy: Proxy, channel_by: ChannelBy) -> None:
    """Each result arrives before the caller sends the next text."""
    with Conversation(channel_by(proxy)) as stream:
        stream.read_started()
        for number in range(10):
            stream.send_items(item(str(number), "I love it"))
            assert [result.id for result in stream.read_results(1)] == [str(number)]
        stream.half_close()
        assert not stream.read_to_end()


def test_a_stream_may_be_open_for_longer_than_it_may_be_idle(
    start_proxy: StartProxy, channel_by: ChannelBy, serve_one: ServeOne
) -> None:
    """A stream that is never idle continues until the server's maximum age."""
    proxy = start_proxy([serve_one(max_connection_age_s=1.5)] * 2, {SHIPPED_IDLE_TIMEOUT: "1s"})

    def talk(stream: Conversation) -> None:
        for number in count():
            stream.send_items(item(str(number), "I love it"))
            stream.read_results(1)

    with Conversation(channel_by(proxy)) as stream:
        stream.read_started()
        with pytest.raises(grpc.RpcError) as caught:
            talk(stream)

    assert reason_in(caught.value) == "DRAINING"


def test_a_server_ends_idle_streams_before_a_proxy_does(
    start_proxy: StartProxy, channel_by: ChannelBy, serve_one: ServeOne
) -> None:
    """The caller gets the server's reason, DRAINING."""
    proxy = start_proxy([serve_one(stream_idle_timeout_s=0.1)] * 2)

    with Conversation(channel_by(proxy)) as stream:
        stream.read_started()
        with pytest.raises(grpc.RpcError) as caught:
            stream.read()

    assert reason_in(caught.value) == "DRAINING"


def test_a_proxy_ends_idle_streams_without_a_reason(
    start_proxy: StartProxy, channel_by: ChannelBy, servers: list[Server]
) -> None:
    """A proxy with a short idle timeout ends the stream without error details."""
    proxy = start_proxy([server.target for server in servers], SHORT_IDLE_TIMEOUT)

    with Conversation(channel_by(proxy)) as stream:
        stream.read_started()
        with pytest.raises(grpc.RpcError) as caught:
            stream.read()

    assert isinstance(caught.value, grpc.Call)
    assert rpc_status.from_call(caught.value) is None


@pytest.mark.parametrize("first", ["server", "proxy"])
def test_the_library_reopens_a_stream(
    start_proxy: StartProxy, connect_by: ConnectBy, serve_one: ServeOne, first: str
) -> None:
    """The library opens a new stream for its next text, when server or proxy ended the old one."""
    settings = {"stream_idle_timeout_s": 0.1} if first == "server" else {}
    proxy = start_proxy([serve_one(**settings)] * 2, SHORT_IDLE_TIMEOUT)

    def source() -> Iterator[str]:
        yield "before"
        assert eventually(lambda: bool(readers()))
        assert eventually(lambda: not readers())
        yield "after"

    assert [id_ for id_, _, _ in connect_by(proxy).classify_stream(source())] == ["0", "1"]


@pytest.mark.parametrize("kind", PROXIES, ids=lambda kind: kind.binary)
def test_shipped_idle_timeouts(kind: type[Proxy]) -> None:
    """The idle timeouts of a shipped proxy are longer than the server's default."""
    text = kind.shipped.read_text()
    times = ("client_body_timeout", "send_timeout", "grpc_read_timeout", "grpc_send_timeout")
    for time in times if kind is Nginx else ("timeout client", "timeout server"):
        (minutes,) = re.findall(rf"\b{time} (\d+)m\b", text)
        assert 60 * int(minutes) > ServerConfig().stream_idle_timeout_s
