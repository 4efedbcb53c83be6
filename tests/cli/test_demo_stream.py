"""The stream of `classwire demo`: which process it kills, and what it counts."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.instrument import descendants
from classwire import Classification, Client, StreamResult
from classwire.testing import FakeServer
from classwire_server.cli.demo import crash
from classwire_server.cli.demo.crash import Crash, model_processes
from classwire_server.cli.demo.reviews import Review
from classwire_server.cli.demo.stream import STARS, ReviewStream
from tests.contract.engines import eventually
from tests.engine.worker.callers import is_gone


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """Yield the process ids of a process, started by this one, and of its child's child."""
    worker = [sys.executable, "-c", "input()"]
    forks = [sys.executable, "-c", f"import subprocess; subprocess.run({worker!r})"]
    server = [sys.executable, "-c", f"import subprocess; subprocess.run({forks!r})"]
    with subprocess.Popen(server, stdin=subprocess.PIPE) as process:
        assert eventually(lambda: len(descendants(process.pid)) == 2)
        yield process.pid, descendants(process.pid)[1]
        process.communicate(b"\n", timeout=60)


@pytest.mark.parametrize("proc", ["/proc", "/no-such-folder"])
def test_a_models_process_is_found(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch, proc: str
) -> None:
    """The process of a model is the one below the server that has no child, in /proc or by ps."""
    monkeypatch.setattr(crash, "_PROC", Path(proc))
    server, worker = family
    assert model_processes(server) == {worker}
    assert model_processes(worker) == set()


def test_where_no_process_is_found_nothing_is_killed(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /proc and ps the demo kills nothing, says so, and goes on."""
    monkeypatch.setattr(crash, "_PROC", Path("/no-such-folder"))
    monkeypatch.setattr(crash, "_PS", ("no-such-program",))
    server, worker = family
    stream = ReviewStream(STARS, [Review("good", 5), Review("bad", 1)], Crash(server))
    with FakeServer(STARS) as fake, Client(fake.target) as client:
        stream.run(client, "fake", 60)
    sentences = [sentence for sentence, _ in stream.findings()]
    assert sentences[0] == "2 ids sent: 2 answered once, 0 twice, 0 lost"
    assert "nothing was killed: no process of the model was found" in sentences
    assert not is_gone(worker)


class Careless:
    """A client whose stream loses the second text, and answers the third twice."""

    def __init__(self, answer: Classification) -> None:
        self._answer = answer

    def classify_stream(self, texts: Sequence[str], **_: object) -> Iterator[StreamResult]:
        """Yield the results."""
        for index in (0, 2, 2):
            yield StreamResult(str(index), index, self._answer)


def test_lost_and_repeated_answers_are_counted() -> None:
    """Ids without an answer and with several are counted, in red."""
    reviews = [Review("a", 5), Review("b", 5), Review("c", 4)]
    stream = ReviewStream(STARS, reviews, None)
    with FakeServer(STARS) as fake, Client(fake.target) as client:
        stream.run(Careless(client.classify("a")), "fake", 60)  # type: ignore[arg-type]
    (sentence, style), *_ = stream.findings()
    assert (sentence, style) == ("3 ids sent: 1 answered once, 1 twice, 1 lost", "bold red")
