"""Float32 with reordered weights: the same numbers, one copy in memory, only where faster."""

import copy
import random
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Precision
from classwire_server.engine.forward import prepacked as prepacking
from classwire_server.engine.forward.grouped import GroupedEngine
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.forward.precision import convert
from classwire_server.engine.forward.prepacked import (
    SMALLEST_WEIGHT,
    PrepackedLinear,
    PrepackedWeights,
    is_worthwhile,
    prepack,
    prepacked_product,
    restore,
)
from classwire_server.engine.forward.runner import OneByOne
from classwire_server.engine.packing import pack
from classwire_server.engine.selection import choice as selection
from classwire_server.engine.selection.parity import SAME
from classwire_server.tokenization import Encoding, Text

WIDE = {"hidden_size": 64, "intermediate_size": 128}
"""Sizes of a tiny checkpoint whose layers are large enough to be reordered."""


@pytest.fixture(params=["bert", "modernbert"])
def model(request: pytest.FixtureRequest, checkpoint: Callable[..., Path]) -> PreTrainedModel:
    """A tiny model, unchanged."""
    return _load(checkpoint(request.param, **WIDE))


@pytest.fixture
def capability(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the CPU capability that torch reports."""

    def report(name: str) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: name)

    return report


def _load(folder: Path) -> PreTrainedModel:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, PreTrainedModel)
    model.eval()
    return model


def _encodings(*lengths: int) -> list[Encoding]:
    rng = random.Random(7)
    texts = [[rng.randrange(5, 70) for _ in range(tokens)] for tokens in lengths]
    return [Encoding(ids, [0] * len(ids), 0, Text(""), None) for ids in texts]


def _layers(model: PreTrainedModel, kind: type[nn.Module]) -> int:
    return sum(type(module) is kind for module in model.modules())


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_computes_the_same(bias: bool) -> None:
    """A prepacked layer has the results of the plain one, for any number of rows in any shape."""
    torch.manual_seed(0)
    linear = nn.Linear(96, 72, bias=bias)
    layer = PrepackedLinear(linear)
    with torch.inference_mode():
        for shape in [(0,), (1,), (2, 3), (1, 67), (300,), (3, 5, 7)]:
            states = torch.randn(*shape, 96)
            torch.testing.assert_close(layer(states), linear(states), rtol=1e-5, atol=1e-5)


def test_logits_stay(model: PreTrainedModel) -> None:
    """Texts have the logits of the plain model when alone, packed and grouped."""
    encodings = _encodings(3, 8, 8, 21, 64, 130)
    alone = OneByOne(GroupedEngine(copy.deepcopy(model), frozenset(), "cpu"))
    prepack(model)
    for texts in [pack(encodings), *(pack([encoding]) for encoding in encodings)]:
        expected = alone.run(texts)
        bound = 1e-5 * np.abs(expected).max()
        assert np.abs(GroupedEngine(model, frozenset(), "cpu").run(texts) - expected).max() <= bound
        packed = PackedModel(model, frozenset())
        assert np.abs(PackedEngine(packed, "cpu").run(texts) - expected).max() <= bound
        packed.unpack()


def test_large_layers_are_replaced(model: PreTrainedModel) -> None:
    """All linear layers but the tiny classifier are reordered, and `restore` is bit-exact."""
    original = copy.deepcopy(model)
    linears = _layers(model, nn.Linear)
    prepack(model)
    assert _layers(model, PrepackedLinear) == linears - 1 > 4
    small = [module for module in model.modules() if type(module) is nn.Linear]
    assert [linear.weight.numel() < SMALLEST_WEIGHT for linear in small] == [True]
    restore(model)
    assert _layers(model, nn.Linear) == linears
    actual = model.state_dict()
    for name, value in original.state_dict().items():
        assert torch.equal(actual.pop(name), value), name
    assert not actual


def test_weights_are_in_memory_once(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain weights are freed one at a time, the file is closed, and reordered weights are freed
    with the model.
    """
    folder = checkpoint("bert", **WIDE)
    model = _load(folder)
    plain = [
        weakref.ref(module.weight)
        for module in model.modules()
        if type(module) is nn.Linear and module.weight.numel() >= SMALLEST_WEIGHT
    ]
    alive: list[int] = []
    original = PrepackedWeights.of

    def observed(weight: torch.Tensor) -> PrepackedWeights:
        alive.append(sum(reference() is not None for reference in plain))
        return original(weight)

    monkeypatch.setattr(PrepackedWeights, "of", observed)
    assert str(folder) in Path("/proc/self/maps").read_text()
    prepack(model)
    assert alive == list(range(len(plain), 0, -1))
    assert not [reference for reference in plain if reference() is not None]
    assert str(folder) not in Path("/proc/self/maps").read_text()
    layers = [module for module in model.modules() if isinstance(module, PrepackedLinear)]
    packed = [weakref.ref(layer.weights) for layer in layers]
    assert len(set(packed)) == len(plain)
    del model, layers
    assert not [reference for reference in packed if reference() is not None]


def test_weights_are_found_by_their_values() -> None:
    """Equal weights are one object, other weights have another digest, and unreferenced ones are
    gone.
    """
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(1))
    weights = PrepackedWeights.of(weight)
    assert PrepackedWeights.of(weight.clone()) is weights
    assert PrepackedWeights.of(weight * 2).digest != weights.digest
    digest = weights.digest
    prepacked_product(torch.ones(2, 64), None, digest, 64)
    del weights
    with pytest.raises(KeyError):
        prepacked_product(torch.ones(2, 64), None, digest, 64)


def test_a_prepacked_model_can_be_exported(model: PreTrainedModel) -> None:
    """torch.export works for any number of tokens, and the exported program has no reordered
    weight.
    """
    prepack(model)
    packed = PackedModel(model, frozenset())
    seen: list[tuple[torch.Tensor, ...]] = []

    def recorded(*inputs: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(value.clone() for value in inputs))
        logits: torch.Tensor = packed(*inputs)
        return logits

    engine = PackedEngine(packed, "cpu")
    engine.with_forward(recorded).run(pack(_encodings(4, 9, 9, 20)))
    tokens, bounds = torch.export.Dim("tokens", min=2), torch.export.Dim("bounds", min=3)
    with torch.no_grad():
        exported = torch.export.export(
            packed, seen[0], dynamic_shapes=({1: tokens}, {1: tokens}, {1: tokens}, {0: bounds})
        )
    assert "classwire.prepacked_product" in exported.graph_module.code
    names = [name for name, value in exported.state_dict.items() if value.dim() > 1]
    assert all("embeddings" in name or "classifier" in name for name in names), names
    others = pack(_encodings(3, 3, 11, 30, 31))
    actual = engine.with_forward(exported.module()).run(others)
    np.testing.assert_allclose(actual, engine.run(others), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)]
)
def test_only_where_it_is_faster(
    name: str,
    expected: bool,
    capability: Callable[[str], None],
    checkpoint: Callable[..., Path],
) -> None:
    """Only float32 on processors with AVX-512 gets reordered weights."""
    capability(name)
    assert is_worthwhile() == expected
    model = _load(checkpoint("bert", **WIDE))
    convert(copy.deepcopy(model), Precision.BFLOAT16)
    convert(model, Precision.FLOAT32)
    assert (_layers(model, PrepackedLinear) > 0) == expected


@pytest.mark.parametrize("architecture", ["bert", "xlnet"])
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_the_chosen_engine_is_checked(
    architecture: str,
    precision: str,
    capability: Callable[[str], None],
    checkpoint: Callable[..., Path],
    few_texts: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Packed or grouped, float32 runs on reordered weights, and its deviation includes them."""
    sizes = WIDE if architecture == "bert" else {"d_inner": 128}
    folder = checkpoint(architecture, **sizes)
    monkeypatch.setattr(selection, "faster_than_float32", lambda *_: (Precision.BFLOAT16,))
    config = ServerConfig(
        model=(f"m={folder}",),
        precision=precision,
        batch_tokens=64,
        calibration=few_texts,
        max_score_difference=1e-9,
    )
    capability("AVX512")
    chosen = selection.select(config.sources[0], config, "cpu")
    module = chosen.engine.model
    assert any(isinstance(part, PrepackedLinear) for part in module.modules())
    assert chosen.engine.traits.precision is Precision.FLOAT32
    assert chosen.deviation.max_score_difference <= SAME


@pytest.mark.parametrize("failure", ["wrong", "raises"])
def test_weights_are_restored(
    failure: str,
    capability: Callable[[str], None],
    checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model whose reordered weights give wrong scores, or fail, is served with plain ones."""
    original = PrepackedWeights.product

    def product(
        self: PrepackedWeights, rows: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if failure == "raises":
            raise AttributeError("weight")
        return original(self, rows, bias) * 1.01

    monkeypatch.setattr(prepacking.PrepackedWeights, "product", product)
    capability("AVX512")
    config = ServerConfig(model=(f"m={checkpoint('bert', **WIDE)}",), batch_tokens=64)
    chosen = selection.select(config.sources[0], config, "cpu")
    assert not any(isinstance(part, PrepackedLinear) for part in chosen.engine.model.modules())
    assert chosen.deviation.max_score_difference <= SAME
