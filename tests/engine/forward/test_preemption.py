"""Urgent passes go first among those that one process computes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch

from classwire_server.engine.forward.attention import attend_within_texts
from classwire_server.engine.forward.onednn import in_steps
from classwire_server.engine.forward.preemption import Preemption
from tests.contract.engines import PATIENCE_S, eventually

LONG_S = 10 * PATIENCE_S


class Lane:
    """A pass of bulk work, which gives way once for each of its layers."""

    def __init__(self, give_way: Callable[[], None], way: Preemption, layers: int = 1) -> None:
        self.layers_done = 0
        self._give_way, self._way, self._layers = give_way, way, layers
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._way.bulk():
            for _ in range(self._layers):
                self._give_way()
                self.layers_done += 1

    def ends(self) -> bool:
        """Whether it comes to its end."""
        self._thread.join(PATIENCE_S)
        return not self._thread.is_alive()


@pytest.fixture
def way() -> Preemption:
    """With passes that stand still for longer than any test runs."""
    return Preemption(LONG_S)


@pytest.fixture
def urgent(way: Preemption) -> Iterator[ExitStack]:
    """An urgent pass, until it is closed."""
    with ExitStack() as stack:
        stack.enter_context(way.urgent())
        yield stack


def test_a_lane_stands_still_for_an_urgent_pass(way: Preemption, urgent: ExitStack) -> None:
    """Until that is over, and only one lane does: an urgent pass needs no more than its place."""
    still = Lane(way.give_way, way)
    assert eventually(lambda: way._still)
    assert Lane(way.give_way, way).ends()
    assert still.layers_done == 0
    urgent.close()
    assert still.ends()
    assert still.layers_done == 1


def test_a_pass_stands_still_for_a_bounded_time() -> None:
    """However long urgent passes go on, and however many layers it has."""
    way = Preemption(max_still_s=0.05)
    with way.urgent():
        lane = Lane(way.give_way, way, layers=1_000)
        assert lane.ends()
    assert lane.layers_done == 1_000


def test_only_bulk_work_gives_way(way: Preemption, urgent: ExitStack) -> None:
    """A pass of another kind does not, on whatever thread, nor one that comes after bulk work."""

    def interactive() -> None:
        way.give_way()

    def another_urgent() -> None:
        with way.urgent():
            way.give_way()

    def after_bulk() -> None:
        with way.bulk():
            pass
        way.give_way()

    for run in (interactive, another_urgent, after_bulk):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def attend() -> None:
    """The operator for attention of all packed models."""
    states, bounds = torch.rand(1, 2, 3, 4), torch.tensor([0, 3])
    attend_within_texts(states, states, states, bounds, bounds.int(), None, None)


def multiply() -> None:
    """A product with weights in oneDNN's layouts."""
    in_steps(lambda rows: rows, torch.rand(1, 3, 4))


@pytest.mark.parametrize("operator", [attend, multiply])
def test_a_layer_gives_way(operator: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it attends, and before products."""
    way = Preemption(LONG_S)
    for module in ("attention", "onednn"):
        monkeypatch.setattr(f"classwire_server.engine.forward.{module}.PREEMPTION", way)
    with way.urgent():
        lane = Lane(operator, way)
        assert eventually(lambda: way._still)
        assert lane.layers_done == 0
    assert lane.ends()
