"""Servers behind a proxy are killed, drained and replaced while callers continue."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest

from classwire import Client
from classwire.testing import FakeServer
from classwire_server.server import Server
from tests.chaos.callers import Callers, Ledger
from tests.chaos.known import Known
from tests.chaos.servers import Forked, Replica
from tests.contract.conversation import Conversation
from tests.contract.engines import FakeEngine, eventually
from tests.contract.failures import reason_in
from tests.proxies.conftest import StartProxy
from tests.proxies.proxy import HAProxy, Nginx, Proxy

ConnectBy = Callable[..., Client]
ChannelBy = Callable[[Proxy], grpc.Channel]
ANSWERS = 100


@pytest.fixture(scope="module")
def replicas() -> Iterator[list[Replica]]:
    """Two servers, each in its own process."""
    with ExitStack() as running:
        yield [running.enter_context(Replica(Forked)) for _ in range(2)]


@pytest.fixture(scope="module")
def known(replicas: list[Replica]) -> Known:
    """Texts with known scores."""
    return Known.ask(replicas[0].target, 100, (10, 30))


def test_servers_are_replaced_under_load(
    start_proxy: StartProxy, connect_by: ConnectBy, replicas: list[Replica], known: Known
) -> None:
    """One server is killed, then the other is stopped, and each starts again: all calls, batches
    and streams of the library get the right answers.
    """
    proxy = start_proxy([replica.target for replica in replicas])
    ledger = Ledger(known)

    with Callers(connect_by(proxy), ledger, unary=2, batches=1, streams=2):
        for replica, number in zip(replicas, (signal.SIGKILL, signal.SIGTERM), strict=True):
            assert ledger.wait_for_answers(ANSWERS)
            replica.end(number)
            assert ledger.wait_for_answers(ANSWERS), "the other server answers nothing"
            replica.start()
        assert ledger.wait_for_answers(ANSWERS)

    assert (ledger.open, ledger.wrong, ledger.failures) == (frozenset(), 0, {})


def test_new_connections_fail_no_call(
    start_proxy: StartProxy,
    connect_by: ConnectBy,
    channel_by: ChannelBy,
    serve: Callable[..., Server],
    servers: list[Server],
    kind: type[Proxy],
) -> None:
    """Servers close old connections, and nginx closes them after some calls. No call fails until a
    stream reaches its maximum age, though the client does not retry.
    """
    model = servers[0].config.model
    server = serve(FakeEngine().launch, model=model, max_connection_age_s=0.5)
    edits = {"requests 100000": "requests 3"} if kind is Nginx else None
    proxy = start_proxy([server.target] * 2, edits)
    client = connect_by(proxy, retry=False)
    over = threading.Event()

    with Conversation(channel_by(proxy)) as stream:
        stream.read_started()
        stream.call.add_callback(over.set)
        while not over.is_set():
            client.classify("I love it")
        with pytest.raises(grpc.RpcError) as caught:
            stream.read()

    assert reason_in(caught.value) == "DRAINING"


@pytest.mark.parametrize("kind", [HAProxy], indirect=True, ids=["haproxy"])
def test_a_server_that_is_not_ready_gets_no_calls(
    start_proxy: StartProxy, connect_by: ConnectBy
) -> None:
    """HAProxy checks health and sends a server that is not serving no calls."""
    with FakeServer(["one"]) as one, FakeServer(["other"]) as other:
        client = connect_by(start_proxy([one.target, other.target]))

        def labels() -> set[str | None]:
            return {client.classify("text").label for _ in range(10)}

        assert labels() == {"one", "other"}
        one.set_serving(False)
        assert eventually(lambda: labels() == {"other"})
        one.set_serving(True)
        assert eventually(lambda: labels() == {"one", "other"})
