"""Both clients against two real servers that come and go: one answer for every text."""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from classwire import Classification, Client
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.errors import StartError
from classwire_server.server import Server
from classwire_server.tokenization import Encoding
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually

MakeClient = Callable[..., Any]


class Marks:
    """Words in texts at which an engine stops for good, each word once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()  # guards _seen

    def are_new(self, text: str) -> bool:
        """Return whether the text holds a mark that no engine has met yet."""
        with self._lock:
            new = {word for word in text.split() if word.startswith("mark")} - self._seen
            self._seen |= new
        return bool(new)


class StoppingEngine(FakeEngine):
    """Stops at marks until the test releases it."""

    def __init__(self, marks: Marks) -> None:
        super().__init__()
        self.stopped = threading.Event()
        self._marks = marks

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """Return the logits of the texts; block while stopped."""
        if self._marks.are_new(" ".join(each.source.text for each in encodings)):
            self.stopped.set()
            assert self._released.wait(PATIENCE_S)
        return super().infer(encodings, terms)


class Replica:
    """A server that the test stops and starts again on the same port."""

    def __init__(self, checkpoint: Path, marks: Marks) -> None:
        self._checkpoint = checkpoint
        self._marks = marks
        self._port = 0
        self._killing: list[threading.Thread] = []
        self._engines: list[StoppingEngine] = []
        self.kills = 0
        self.is_up = False
        self.start()

    @property
    def target(self) -> str:
        """Its address, also while it is down."""
        return self._server.target

    @property
    def is_stopped(self) -> bool:
        """Whether it holds a text that it will not answer."""
        return self.is_up and self._engines[-1].stopped.is_set()

    def start(self) -> None:
        """Serve again."""
        assert eventually(self._starts)
        self._port = self._server.port
        self.is_up = True

    def drain(self) -> None:
        """Answer the accepted calls, and stop."""
        self.is_up = False
        self._server.stop()

    def kill(self) -> None:
        """Abort all calls."""
        self.is_up = False
        self.kills += 1
        # In a thread, since even an abrupt stop waits for the engine.
        thread = threading.Thread(target=self._server.stop, args=(0.0,))
        thread.start()
        self._killing.append(thread)

    def close(self) -> None:
        """Release the engine, and stop the server."""
        for engine in self._engines:
            engine.release()
        self._server.stop(0.0)
        for thread in self._killing:
            thread.join(PATIENCE_S)

    def _starts(self) -> bool:
        engine = StoppingEngine(self._marks)
        config = ServerConfig(
            port=self._port,
            model=(f"tiny={self._checkpoint}",),
            stream_window_items=32,
            stream_items_per_message=8,
        )
        server = Server(config, engine.launch)
        try:
            server.start()
        except StartError:  # the server before it has not freed the port yet
            return False
        self._engines.append(engine)
        self._server = server
        return True


@pytest.fixture
def replicas(checkpoint: Callable[..., Path]) -> Iterator[list[Replica]]:
    """Return two servers."""
    marks = Marks()
    two = [Replica(checkpoint("bert"), marks) for _ in range(2)]
    yield two
    for replica in two:
        replica.close()


def texts(count: int, marks: int) -> list[str]:
    """Return `count` texts of 1 to 7 words, with `marks` of them, evenly spaced, being a mark."""
    every = count // (marks + 1)
    return [
        f"mark{number}" if number and number % every == 0 else "word " * (1 + number % 7)
        for number in range(count)
    ]


def requests_in_flight() -> list[threading.Thread]:
    """Return gRPC's threads that send requests of a stream."""
    return [each for each in threading.enumerate() if "consume_request_iterator" in each.name]


@pytest.mark.parametrize("in_order", [True, False])
def test_a_stream_outlives_all_its_servers(
    make_client: MakeClient, replicas: list[Replica], in_order: bool
) -> None:
    """A stream survives four kills of its servers: one outcome an id, in order if asked, and no
    thread of the old calls stays.
    """
    kills = 4

    def kill_in_turn() -> None:
        for _ in range(kills):
            assert eventually(lambda: any(replica.is_stopped for replica in replicas))
            stuck, other = sorted(replicas, key=lambda replica: not replica.is_stopped)
            if not other.is_up:
                other.start()
            stuck.kill()

    killing = threading.Thread(target=kill_in_turn)
    killing.start()
    client = make_client([replica.target for replica in replicas])
    given = texts(400, kills)
    one, two = (client.classify("word " * count).token_count for count in (1, 2))
    found = list(client.classify_stream(given, in_order=in_order))
    killing.join(PATIENCE_S)
    assert [replica.kills for replica in replicas] == [2, 2]
    ids = [int(result.id) for result in found]
    assert (ids if in_order else sorted(ids)) == list(range(len(given)))
    for id_, _, outcome in found:
        assert isinstance(outcome, Classification)
        words = given[int(id_)].count("word")
        assert not words or outcome.token_count == one + (words - 1) * (two - one)
    assert eventually(lambda: not requests_in_flight())


def test_servers_are_replaced_while_streams_and_calls_go_on(
    make_client: MakeClient, replicas: list[Replica]
) -> None:
    """Streams and calls go on without an error while each server drains, stops and returns."""
    client = make_client([replica.target for replica in replicas])
    rolled, answers = threading.Event(), threading.Semaphore(0)
    calls: list[Any] = []

    def roll() -> None:
        for replica in replicas * 2:
            assert answers.acquire(timeout=PATIENCE_S)
            replica.drain()
            replica.start()
        rolled.set()

    def source() -> Iterator[str]:
        number = 0
        while not rolled.is_set():
            yield f"text {number}"
            number += 1

    def call() -> None:
        with Client([replica.target for replica in replicas]) as other:
            number = 0
            while not rolled.is_set():
                calls.append(other.classify(f"call {number}"))
                number += 1

    threads = [threading.Thread(target=roll), threading.Thread(target=call)]
    for thread in threads:
        thread.start()
    count = 0
    for id_, _, outcome in client.classify_stream(source(), in_order=True):
        assert (id_, type(outcome)) == (str(count), Classification)
        count += 1
        answers.release()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert rolled.is_set()
    assert count > 4
    assert all(isinstance(answer, Classification) for answer in calls)
    assert calls
