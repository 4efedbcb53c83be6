"""Replicas come, go, drain and are killed behind Envoy while callers continue."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import cast

import grpc
import pytest

from classwire import Client
from classwire.testing import FakeServer
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.config.server_config import ServerConfig
from classwire_server.server import Server
from scripts.envoy import Envoy
from tests.chaos.callers import Callers, Ledger
from tests.chaos.known import Known
from tests.chaos.servers import Forked, Replica
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually
from tests.proxies.envoy.conftest import ChannelTo, ConnectTo, StartEnvoy

ANSWERS = 100
TEXT = pb.ClassifyRequest(input=pb.TextInput(text="a"))


def labels(client: Client, calls: int = 10) -> Counter[str | None]:
    """Return the labels of some calls; each fake server has its own."""
    return Counter(client.classify("text").label for _ in range(calls))


def test_the_file_of_replicas(
    start_envoy: StartEnvoy, connect_to: ConnectTo, channel_to: ChannelTo
) -> None:
    """A replica that comes into the file gets calls. One that leaves gets no more, and answers
    those that it has.
    """
    with FakeServer(["one"]) as one, FakeServer(["other"]) as other:
        envoy = start_envoy([one.target], model="fake")
        client = connect_to(envoy.target)
        assert set(labels(client)) == {"one"}

        envoy.set_replicas([one.target, other.target])
        assert eventually(lambda: set(labels(client)) == {"one", "other"})

        one.hold()
        stub = ClassifyServiceStub(channel_to(envoy.target))
        before = len(one.calls)
        held = [stub.Classify.future(TEXT, timeout=PATIENCE_S) for _ in range(16)]
        assert eventually(lambda: len(one.calls) > before)
        envoy.set_replicas([other.target])
        assert eventually(lambda: envoy.ready() == {other.target})
        assert set(labels(client)) == {"other"}
        assert not all(call.done() for call in held)
        one.release()
        assert "one" in [call.result().result.scores[0].label for call in held]
        # Envoy no longer avoids it for the calls that it holds.
        assert set(labels(client)) == {"other"}


def test_a_replica_that_is_not_ready_gets_no_calls(
    start_envoy: StartEnvoy, connect_to: ConnectTo
) -> None:
    """Envoy checks the health of the model, and sends a replica that is not serving no calls."""
    with FakeServer(["one"]) as one, FakeServer(["other"]) as other:
        envoy = start_envoy([one.target, other.target], model="fake")
        client = connect_to(envoy.target)
        assert eventually(lambda: set(labels(client)) == {"one", "other"})

        one.set_serving(False)
        assert eventually(lambda: set(labels(client)) == {"other"})
        one.set_serving(True)
        assert eventually(lambda: set(labels(client)) == {"one", "other"})


def test_a_busy_replica_gets_fewer_calls(start_envoy: StartEnvoy, channel_to: ChannelTo) -> None:
    """Of two replicas that Envoy draws, the one with fewer calls gets the next: one that answers
    none gets a quarter, where turns would give it half.
    """
    with FakeServer(["one"]) as one, FakeServer(["other"]) as other:
        envoy = start_envoy([one.target, other.target], model="fake")
        one.hold()
        stub = ClassifyServiceStub(channel_to(envoy.target))

        def held() -> int:
            return calls_to(envoy, one.target)

        calls = []
        for _ in range(200):
            before = held()
            calls.append(stub.Classify.future(TEXT, timeout=PATIENCE_S))
            assert eventually(lambda: calls[-1].done() or held() > before)  # noqa: B023
        assert held() <= 75  # four standard deviations from 50
        one.release()
        assert all(call.result() for call in calls)


def calls_to(envoy: Envoy, replica: str) -> int:
    """Return how many calls Envoy has sent to a replica."""
    line = f"replicas::{replica}::rq_total::"
    (found,) = (row for row in envoy.statistics("clusters").splitlines() if row.startswith(line))
    return int(found.removeprefix(line))


def test_the_canary(start_envoy: StartEnvoy, connect_to: ConnectTo) -> None:
    """The canary gets no call at weight 0, all at 100, and a share in between; the weight changes
    without a restart.
    """
    with FakeServer(["old"]) as old, FakeServer(["new"]) as new:
        envoy = start_envoy([old.target], model="fake")
        envoy.set_replicas([new.target], cluster="canary")
        assert eventually(lambda: envoy.ready(cluster="canary") == {new.target})
        client = connect_to(envoy.target)
        assert labels(client) == {"old": 10}

        envoy.set_share(30)
        assert eventually(lambda: "new" in labels(client))
        share = labels(client, 400)["new"] / 400
        assert 0.15 < share < 0.45  # seven standard deviations to each side
        envoy.set_share(100)
        assert eventually(lambda: labels(client) == {"new": 10})


@pytest.fixture(scope="module")
def replicas(installed: None) -> Iterator[list[Replica]]:
    """Yield two servers, each in its own process."""
    with ExitStack() as running:
        yield [running.enter_context(Replica(Forked)) for _ in range(2)]


def test_replicas_are_replaced_under_load(
    start_envoy: StartEnvoy, connect_to: ConnectTo, replicas: list[Replica]
) -> None:
    """One replica is killed, then the other drains, and each starts again: all calls, batches and
    streams of the library get the right answers.
    """
    envoy = start_envoy([replica.target for replica in replicas])
    ledger = Ledger(Known.ask(replicas[0].target, 100, (10, 30)))

    with Callers(connect_to(envoy.target), ledger, unary=2, batches=1, streams=2):
        for replica, number in zip(replicas, (signal.SIGKILL, signal.SIGTERM), strict=True):
            assert ledger.wait_for_answers(ANSWERS)
            replica.end(number)
            assert eventually(lambda: len(envoy.ready()) == 1)
            assert ledger.wait_for_answers(ANSWERS), "the other replica answers nothing"
            replica.start()
            assert eventually(lambda: len(envoy.ready()) == 2)
        assert ledger.wait_for_answers(ANSWERS)

    assert (ledger.open, ledger.wrong, ledger.failures) == (frozenset(), 0, {})


def test_a_drain_fails_no_call_of_a_bare_stub(
    start_envoy: StartEnvoy, channel_to: ChannelTo, servers: list[Server]
) -> None:
    """A stub without retries gets all its answers while each replica leaves the file, drains,
    starts again and comes back.
    """
    model = servers[0].config.model

    def started(port: int = 0) -> Server:
        server = Server(ServerConfig(port=port, model=model), FakeEngine().launch)
        server.start()
        return server

    running = [started(), started()]
    envoy = start_envoy([server.target for server in running], model="tiny")
    over = threading.Event()
    statuses: Counter[str] = Counter()
    stub = ClassifyServiceStub(channel_to(envoy.target))
    callers = [
        threading.Thread(target=_call, args=(stub, over, statuses), daemon=True) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    try:
        for number, server in enumerate(running):
            enough = statuses["OK"] + ANSWERS
            assert eventually(lambda enough=enough: statuses["OK"] >= enough)  # type: ignore[misc]
            envoy.set_replicas([other.target for other in running if other is not server])
            assert eventually(lambda: len(envoy.ready()) == 1)
            server.stop()
            running[number] = started(server.port)
            envoy.set_replicas([other.target for other in running])
            assert eventually(lambda: len(envoy.ready()) == 2)
    finally:
        over.set()
        for caller in callers:
            caller.join(PATIENCE_S)
        for server in running:
            server.stop()

    assert statuses.keys() == {"OK"}


def _call(stub: ClassifyServiceStub, over: threading.Event, statuses: Counter[str]) -> None:
    while not over.is_set():
        try:
            stub.Classify(TEXT, timeout=PATIENCE_S)
            statuses["OK"] += 1
        except grpc.RpcError as error:
            statuses[cast(grpc.Call, error).code().name] += 1
