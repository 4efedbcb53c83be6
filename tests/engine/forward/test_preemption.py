"""Urgent passes preempt the yielding passes of the same process."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch

from classwire_server.engine.compilation import export as compilation
from classwire_server.engine.compilation.export import CompiledModel
from classwire_server.engine.forward.attention import attend_within_texts
from classwire_server.engine.forward.onednn import in_steps
from classwire_server.engine.forward.preemption import Preemption
from tests.compiled import Compiled
from tests.contract.engines import PATIENCE_S, eventually

LONG_S = 10 * PATIENCE_S


class YieldingPass:
    """A yielding pass that calls an operator, a preemption point, once for each of its layers."""

    def __init__(
        self, operator: Callable[[], None], preemption: Preemption, layers: int = 1
    ) -> None:
        self.layers_done = 0
        self._operator, self._preemption, self._layers = operator, preemption, layers
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._preemption.yielding():
            for _ in range(self._layers):
                self._operator()
                self.layers_done += 1

    def ends(self) -> bool:
        """Whether it ends in time."""
        self._thread.join(PATIENCE_S)
        return not self._thread.is_alive()


@pytest.fixture
def preemption() -> Preemption:
    """A preemption whose pauses last longer than any test."""
    return Preemption(LONG_S)


@pytest.fixture
def urgent(preemption: Preemption) -> Iterator[ExitStack]:
    """An urgent pass that runs until it is closed."""
    with ExitStack() as stack:
        stack.enter_context(preemption.urgent())
        yield stack


def test_a_pass_pauses_for_an_urgent_one(preemption: Preemption, urgent: ExitStack) -> None:
    """One yielding pass pauses until the urgent pass ends. A second one goes on: the urgent pass
    needs no more than one core.
    """
    paused = YieldingPass(preemption.preemption_point, preemption)
    assert eventually(lambda: preemption.is_paused)
    assert YieldingPass(preemption.preemption_point, preemption).ends()
    assert paused.layers_done == 0
    urgent.close()
    assert paused.ends()
    assert paused.layers_done == 1


def test_a_pass_pauses_for_a_bounded_time() -> None:
    """The total pause has a limit, however many urgent passes run and layers follow."""
    preemption = Preemption(max_pause_s=0.05)
    with preemption.urgent():
        yielding = YieldingPass(preemption.preemption_point, preemption, layers=1_000)
        assert yielding.ends()
    assert yielding.layers_done == 1_000


def test_only_yielding_passes_pause(preemption: Preemption, urgent: ExitStack) -> None:
    """Interactive and urgent passes never pause, nor do later passes of a yielding one's thread."""

    def interactive() -> None:
        preemption.preemption_point()

    def another_urgent() -> None:
        with preemption.urgent():
            preemption.preemption_point()

    def after_yielding() -> None:
        with preemption.yielding():
            pass
        preemption.preemption_point()

    for run in (interactive, another_urgent, after_yielding):
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def attend() -> None:
    """Run the attention operator of packed models."""
    states, bounds = torch.rand(1, 2, 3, 4), torch.tensor([0, 3])
    attend_within_texts(states, states, states, bounds, bounds.int(), None, None)


def multiply() -> None:
    """Run a product with weights in oneDNN's layouts."""
    in_steps(lambda rows: rows, torch.rand(1, 3, 4))


@pytest.mark.parametrize("operator", [attend, multiply])
def test_operators_are_preemption_points(
    operator: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A yielding pass pauses before attention and before products."""
    preemption = Preemption(LONG_S)
    for module in ("attention", "onednn"):
        monkeypatch.setattr(f"classwire_server.engine.forward.{module}.PREEMPTION", preemption)
    with preemption.urgent():
        yielding = YieldingPass(operator, preemption)
        assert eventually(lambda: preemption.is_paused)
        assert yielding.layers_done == 0
    assert yielding.ends()


@pytest.mark.timeout(300)  # the first test that needs the compiled model compiles it
def test_a_compiled_pass_pauses(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled pass pauses as a plain one does: if it yields, until the urgent pass ends."""
    preemption = Preemption(LONG_S)
    monkeypatch.setattr(compilation, "PREEMPTION", preemption)
    run = CompiledModel(compiled.artefact.folder, compiled.load(), lanes=2)
    ids = torch.full((1, 6), 7)

    @torch.inference_mode()
    def compute() -> None:
        run(ids, torch.zeros_like(ids), torch.zeros_like(ids), torch.tensor([0, 2, 6]))

    with preemption.urgent():
        compute()  # does not yield
        yielding = YieldingPass(compute, preemption)
        assert eventually(lambda: preemption.is_paused)
        assert yielding.layers_done == 0
    assert yielding.ends()
    assert YieldingPass(compute, preemption).ends()
