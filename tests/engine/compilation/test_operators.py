"""A compiled pass runs no Python between its operators, and has the bits of Python's operators."""

import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.operators import calling_python
from classwire_server.config.model_source import ModelSource
from classwire_server.engine.compilation import export as compilation
from classwire_server.engine.compilation.export import CompiledModel
from classwire_server.engine.forward.attention import attend_within_texts, mean_within_texts
from classwire_server.engine.forward.int8 import Int8Linear
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.preemption import PREEMPTION
from classwire_server.engine.packing import PackedTexts, pack
from classwire_server.tokenization import Encoding, Text
from tests.compiled import TINY, Compiled

pytestmark = pytest.mark.timeout(300)  # the first test compiles the model for all

MIXTURES = ([20], [2], [2, 1], [3, 5], [7] * 9, [2, 100, 300], [30] * 20 + [60, 70])
CALL = type(torch.ops.aten.abs.default).__call__.__code__  # calls operators of torch
LENGTHS = (5, 5, 3, 9, 9, 9, 1, 0)


@pytest.fixture(params=["compiled", "compiled_int8"])
def artefact(request: pytest.FixtureRequest) -> Compiled:
    """A compiled model in float32, and one in int8."""
    found: Compiled = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def calls_python(artefact: Compiled, tmp_path: Path) -> Path:
    """The same artefact, but its library calls the operators in Python."""
    return calling_python(artefact.artefact.folder, tmp_path)


def texts(lengths: list[int]) -> PackedTexts:
    """Texts of random tokens."""
    draw = np.random.default_rng(0)
    return pack(
        [Encoding(draw.integers(5, 100, n).tolist(), [0] * n, 0, Text("")) for n in lengths]
    )


def engine(model: PackedModel, folder: Path) -> PackedEngine:
    """The compiled engine of a model."""
    return PackedEngine(model, "cpu").with_forward(CompiledModel(folder, model, lanes=1))


@torch.inference_mode()
def call_backs(model: PackedModel, folder: Path) -> list[str]:
    """The Python functions that a compiled pass calls from its operator of torch."""
    lengths = torch.tensor([6, 6, 4])
    bounds = torch.cat((torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)))
    ids = torch.full((1, int(bounds[-1])), 7)
    compiled = CompiledModel(folder, model, lanes=1)
    found: list[str] = []
    in_operator = [False]

    def see(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            if in_operator[-1]:
                found.append(frame.f_code.co_name)
            in_operator.append(in_operator[-1])
        elif event == "c_call":
            in_operator.append(in_operator[-1] or frame.f_code is CALL)
        else:
            in_operator.pop()

    sys.setprofile(see)
    try:
        compiled(ids, torch.zeros_like(ids), torch.zeros_like(ids), bounds)
    finally:
        sys.setprofile(None)
    return found


def test_a_pass_calls_no_python(artefact: Compiled, calls_python: Path) -> None:
    """A compiled pass runs no Python function, so it does not wait for Python's lock; neither next
    to an urgent pass, if it does not yield. The same library calls Python's operators if these are
    the ones that it names.
    """
    model = artefact.load()
    with PREEMPTION.urgent():
        assert call_backs(model, artefact.artefact.folder) == []
    assert "attend_within_texts" in call_backs(model, calls_python)


def test_results_have_the_bits_of_pythons_operators(artefact: Compiled, calls_python: Path) -> None:
    """The same library gives the same logits, to the last bit, by Python's operators."""
    model = artefact.load()
    native, python = engine(model, artefact.artefact.folder), engine(model, calls_python)

    for lengths in MIXTURES:
        batch = texts(lengths)
        assert np.array_equal(native.run(batch), python.run(batch))


@pytest.fixture
def native(compiled: Compiled) -> Any:
    """The operators of a compiled model."""
    CompiledModel(compiled.artefact.folder, compiled.load(), 1)
    namespace = (compiled.artefact.folder / compilation.NAMESPACE).read_text()
    return getattr(torch.ops, namespace)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_attention(
    native: Any, dtype: torch.dtype, window: int | None, scaling: float | None
) -> None:
    """Attention has the bits of Python's operator: groups of texts, empty ones, with windows, in
    every precision.
    """
    bounds = torch.tensor([0, *np.cumsum(LENGTHS)])
    torch.manual_seed(0)
    states = torch.randn(3, 1, 2, sum(LENGTHS), 8).to(dtype)
    arguments = (*states, bounds, bounds.int(), scaling, window)

    expected = attend_within_texts(*arguments)
    assert torch.equal(native.attend_within_texts(*arguments), expected)
    assert expected.is_contiguous()


def test_means(native: Any) -> None:
    """The mean of each text has the bits of Python's operator."""
    bounds = torch.tensor([0, *np.cumsum(LENGTHS[:-1])])
    hidden = torch.randn(sum(LENGTHS), 8, generator=torch.Generator().manual_seed(0))

    expected = mean_within_texts(hidden, bounds)
    assert torch.equal(native.mean_within_texts(hidden, bounds), expected)


def test_models_come_and_go(compiled: Compiled, compiled_int8: Compiled) -> None:
    """Several compiled models run in one process, also two of one artefact. A model's weights in
    oneDNN's layouts are freed with it, and the others go on.
    """
    batch = texts([3, 8, 8])
    plain, first, second = compiled.load(), compiled_int8.load(), compiled_int8.load()
    engines = [
        engine(plain, compiled.artefact.folder),
        engine(first, compiled_int8.artefact.folder),
        engine(second, compiled_int8.artefact.folder),
    ]
    expected = [each.run(batch) for each in engines]
    assert np.array_equal(expected[1], expected[2])
    assert not np.array_equal(expected[0], expected[1])
    layer = next(each for each in first.modules() if isinstance(each, Int8Linear))
    packed = weakref.ref(layer.weights.packed)
    del first, layer, engines[1]
    gc.collect()

    assert packed() is not None  # the second model has the same
    assert np.array_equal(engines[0].run(batch), expected[0])
    assert np.array_equal(engines[1].run(batch), expected[2])
    del second, engines[1]
    gc.collect()
    assert packed() is None
    assert np.array_equal(engines[0].run(batch), expected[0])


def test_other_weights(compiled_int8: Compiled, checkpoint: Callable[..., Path]) -> None:
    """A pass fails in a model with other weights than those that the artefact was compiled for."""
    other = ModelSource("other", str(checkpoint("bert", seed=1, **TINY)))
    model = replace(compiled_int8, source=other).load()

    with pytest.raises(RuntimeError):
        engine(model, compiled_int8.artefact.folder).run(texts([3, 4]))
