"""Running a batch on an engine that fails once, or at one text."""

from collections.abc import Callable, Sequence

import pytest

from classwire_server.engine import ANY_TIME, Logits, Terms
from classwire_server.errors import NoWorker, TooLate, WorkerLost
from classwire_server.scheduling.execution import ForwardPass, compute
from classwire_server.tokenization import Encoding
from tests.contract.engines import FakeEngine
from tests.scheduling.simulation import logits, waiting


class Scripted(FakeEngine):
    """An engine that calls `behaviour` with each pass's number and texts, then answers."""

    def __init__(self, behaviour: Callable[[int, Sequence[Encoding]], None]) -> None:
        super().__init__()
        self.passes: list[int] = []
        self._behaviour = behaviour

    def infer(self, encodings: Sequence[Encoding], terms: Terms = ANY_TIME) -> Logits:
        """The logits of the texts."""
        self.passes.append(len(encodings))
        self.urgent.append(terms.urgent)
        self._behaviour(len(self.passes), encodings)
        return logits(len(encodings))


def encodings(number: int) -> list[Encoding]:
    """A number of texts of three tokens each."""
    return [waiting(3).encoding for _ in range(number)]


def failures(passes: Sequence[ForwardPass]) -> list[bool]:
    """Whether each text failed, in order."""
    return [isinstance(done.logits, Exception) for done in passes for _ in range(done.texts)]


def test_one_pass_if_nothing_fails() -> None:
    """A batch that does not fail is one pass."""
    engine = Scripted(lambda _, __: None)
    [done] = compute(engine, encodings(5), Terms(urgent=True))
    assert (done.texts, done.tokens, engine.urgent) == (5, 15, [True])


@pytest.mark.parametrize("place", [0, 31, 63])
def test_only_the_bad_text_fails(place: int) -> None:
    """One bad text of 64 fails alone, after about two passes per halving."""
    texts = encodings(64)
    bad = texts[place]

    def fail(_: int, these: Sequence[Encoding]) -> None:
        if bad in these:
            raise ValueError

    engine = Scripted(fail)
    assert failures(compute(engine, texts)) == [text is bad for text in texts]
    assert len(engine.passes) == 1 + 2 * 6


def test_every_bad_text_fails() -> None:
    """With several bad texts each text has its own outcome."""
    texts = encodings(9)
    bad = texts[1::3]

    def fail(_: int, these: Sequence[Encoding]) -> None:
        if any(text in bad for text in these):
            raise ValueError

    passes = compute(Scripted(fail), texts)
    assert failures(passes) == [text in bad for text in texts]


@pytest.mark.parametrize("texts", [1, 2, 8])
def test_one_failed_pass_fails_no_text(texts: int) -> None:
    """A pass that fails once fails no text, even if it has only one."""

    def fail(number: int, _: Sequence[Encoding]) -> None:
        if number == 1:
            raise ValueError

    assert not any(failures(compute(Scripted(fail), encodings(texts))))


def test_too_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that returns the wrong number of rows has failed."""
    engine = Scripted(lambda _, __: None)
    monkeypatch.setattr(engine, "infer", lambda *_: logits(1))
    assert failures(compute(engine, encodings(2))) == [False, False]
    monkeypatch.setattr(engine, "infer", lambda *_: logits(3))
    assert failures(compute(engine, encodings(2))) == [True, True]


@pytest.mark.parametrize("error", [NoWorker, TooLate, WorkerLost])
def test_a_lost_worker_ends_the_run(error: type[Exception]) -> None:
    """A lost worker ends the run: `compute` raises, and does not split the batch."""

    def fail(number: int, _: Sequence[Encoding]) -> None:
        raise error if number == 2 else ValueError

    engine = Scripted(fail)
    with pytest.raises(error):
        compute(engine, encodings(4))
    assert engine.passes == [4, 2]
