"""int8: exact integer products, close to float32, small, and independent of the batch."""

import random
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from classwire_server.engine import Precision
from classwire_server.engine.forward import int8 as quantization
from classwire_server.engine.forward.int8 import (
    ZERO_POINT,
    Int8Embedding,
    Int8Linear,
    Int8Weights,
    int8_product,
    int8_rows,
    quantize,
    weight_levels,
)
from classwire_server.engine.forward.packed import PackedEngine, PackedModel
from classwire_server.engine.packing import pack
from classwire_server.tokenization import Encoding, Text

PACKABLE = ("bert", "roberta", "distilbert", "electra", "modernbert")


def _load(folder: Path) -> PreTrainedModel:
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, PreTrainedModel)
    model.eval()
    return model


def _encoding(ids: list[int]) -> Encoding:
    return Encoding(ids, [0] * len(ids), 0, Text(""), None)


def _random_encoding(rng: random.Random, tokens: int) -> Encoding:
    return _encoding([rng.randrange(5, 70) for _ in range(tokens)])


def _logits(engine: PackedEngine, encodings: list[Encoding]) -> np.ndarray:
    texts = pack(encodings)
    return texts.unsorted(engine.run(texts))


@pytest.mark.parametrize("outputs", [1, 2, 5, 33, 768])
@pytest.mark.parametrize("inputs", [1, 3, 31, 48, 768])
def test_products_are_exact(inputs: int, outputs: int) -> None:
    """For 1 to 1,024 rows of the largest codes every sum is the exact integer."""
    generator = torch.Generator().manual_seed(inputs * 1_000 + outputs)
    levels = weight_levels()
    signs = torch.randint(0, 2, (outputs, inputs), generator=generator) * 2 - 1
    rows = (signs * levels).to(torch.int8)
    weights = Int8Weights.of(rows, torch.ones(outputs))
    for tokens in (1, 2, 5, 16, 67, 257, 1_024):
        codes = torch.where(torch.rand(tokens, inputs, generator=generator) < 0.5, 1, 255)
        expected = (codes - ZERO_POINT).double() @ rows.T.double()
        actual = int8_product(codes.to(torch.uint8), weights.digest, outputs)
        assert torch.equal(actual.double(), expected), tokens


def test_a_layer_is_close_to_its_original() -> None:
    """The error of each row is at most 5 % of its largest activation, for any magnitude."""
    torch.manual_seed(0)
    linear = nn.Linear(96, 40)
    states = torch.randn(1, 50, 96) * torch.logspace(-6, 6, 50)[None, :, None]
    with torch.inference_mode():
        expected = linear(states) - linear.bias
        actual = Int8Linear(linear, weight_levels())(states) - linear.bias
    # The bias is far larger than small rows, so float32 loses their last digits.
    largest = states.abs().amax(-1, keepdim=True) + 1e-6
    assert float(((actual - expected).abs() / largest).max()) < 0.05
    assert torch.isfinite(Int8Linear(linear, 64)(torch.zeros(1, 3, 96))).all()


def test_what_is_not_finite_stays_so() -> None:
    """Weights and activations that are not finite give results that are not finite."""
    linear = nn.Linear(8, 4)
    with torch.inference_mode():
        linear.weight[1, 3] = torch.inf
        layer = Int8Linear(linear, weight_levels())
        states = torch.ones(3, 8)
        states[1, 2], states[2, 2] = torch.nan, torch.inf
        result = layer(states)
    assert torch.isfinite(result[0]).tolist() == [True, False, True, True]
    assert not torch.isfinite(result[1:]).any()


def test_rows_have_scales_of_their_own() -> None:
    """Each row uses all levels, so a small row keeps its precision next to a large one."""
    exact = torch.tensor([[1.0, -0.5, 0.25], [1e4, -5e3, 0.0], [0.0, 0.0, 0.0]])
    rows, scales = int8_rows(exact, 127)
    assert rows.dtype == torch.int8
    assert rows.tolist() == [[127, -64, 32], [127, -64, 0], [0, 0, 0]]
    assert torch.allclose(rows * scales[:, None], exact, rtol=0.01, atol=0)


def test_weights_are_found_by_their_values() -> None:
    """Equal weights are one object, other weights have another digest, and unreferenced ones are
    gone.
    """
    rows, scales = int8_rows(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)), 64)
    weights = Int8Weights.of(rows, scales)
    assert Int8Weights.of(rows.clone(), scales.clone()) is weights
    changed = Int8Weights.of(rows, scales * 2)
    assert changed.digest != weights.digest
    codes, digest = torch.ones(2, 4, dtype=torch.uint8), weights.digest
    int8_product(codes, digest, 6)
    del weights
    with pytest.raises(KeyError):
        int8_product(codes, digest, 6)


def test_the_weights_shrink_to_a_quarter(checkpoint: Callable[..., Path]) -> None:
    """After quantization all linear layers and embedding tables are int8."""
    model = _load(checkpoint("bert"))
    before = {name: p.numel() for name, p in model.named_parameters() if p.dim() > 1}
    quantize(model)
    assert before
    assert not [name for name, p in model.named_parameters() if p.dim() > 1]
    kinds = {type(module) for module in model.modules()}
    assert not kinds & {nn.Linear, nn.Embedding}
    tables = [buffer for name, buffer in model.named_buffers() if name.endswith("rows")]
    assert {table.dtype for table in tables} == {torch.int8}
    assert sum(table.numel() for table in tables) == sum(
        size for name, size in before.items() if "embeddings" in name
    )


def test_weights_are_freed_one_at_a_time(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The float32 weight of a layer is freed before the next layer is converted."""
    model = _load(checkpoint("bert"))
    weights = [weakref.ref(p) for p in model.parameters() if p.dim() > 1]
    alive: list[int] = []

    def observed(weight: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
        alive.append(sum(reference() is not None for reference in weights))
        return int8_rows(weight, levels)

    monkeypatch.setattr(quantization, "int8_rows", observed)
    quantize(model)
    assert alive == list(range(len(weights), 0, -1))


@pytest.mark.parametrize("architecture", PACKABLE)
def test_other_texts_change_no_bit(architecture: str, checkpoint: Callable[..., Path]) -> None:
    """A text's logits have the same bits alone and in 50 batches, some with texts of its length."""
    model = _load(checkpoint(architecture))
    quantize(model)
    engine = PackedEngine(PackedModel(model, frozenset()), "cpu", Precision.INT8)
    rng = random.Random(7)
    own = [_random_encoding(rng, tokens) for tokens in (3, 8, 21, 64, 130)]
    alone = [_logits(engine, [encoding])[0] for encoding in own]
    for turn in range(50):
        chosen = turn % len(own)
        lengths = [rng.randint(2, 40) for _ in range(rng.randint(0, 12))]
        lengths += [len(own[chosen].ids)] * rng.randint(0, 4)
        batch = [_random_encoding(rng, tokens) for tokens in lengths]
        place = rng.randint(0, len(batch))
        batch.insert(place, own[chosen])
        assert np.array_equal(_logits(engine, batch)[place], alone[chosen]), turn


def test_a_quantized_model_can_be_exported(checkpoint: Callable[..., Path]) -> None:
    """torch.export works for any number of tokens, and exports no weight of a linear layer."""
    model = _load(checkpoint("bert"))
    quantize(model)
    packed = PackedModel(model, frozenset())
    seen: list[tuple[torch.Tensor, ...]] = []

    def recorded(*inputs: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(value.clone() for value in inputs))
        logits: torch.Tensor = packed(*inputs)
        return logits

    engine = PackedEngine(packed, "cpu", Precision.INT8)
    rng = random.Random(7)
    texts = pack([_random_encoding(rng, tokens) for tokens in (4, 9, 9, 20)])
    engine.with_forward(recorded).run(texts)
    tokens, bounds = torch.export.Dim("tokens", min=2), torch.export.Dim("bounds", min=3)
    with torch.no_grad():
        exported = torch.export.export(
            packed, seen[0], dynamic_shapes=({1: tokens}, {1: tokens}, {1: tokens}, {0: bounds})
        )
    assert "classwire.int8_product" in exported.graph_module.code
    matrices = [
        value for value in exported.state_dict.values() if min(value.shape[1:], default=1) > 1
    ]
    assert {matrix.dtype for matrix in matrices} == {torch.int8}
    others = pack([_random_encoding(rng, tokens) for tokens in (3, 3, 11, 30, 31)])
    actual = engine.with_forward(exported.module()).run(others)
    assert np.array_equal(actual, engine.run(others))


def test_weights_that_a_models_code_reads() -> None:
    """A converted layer or table gives code that reads its weight the float32 values that it
    computes with.
    """
    torch.manual_seed(0)
    linear, table = nn.Linear(96, 40), nn.Embedding(50, 96)
    levels = weight_levels()
    with torch.inference_mode():
        layer, rows = Int8Linear(linear, levels), Int8Embedding(table)
        pairs = ((layer.weight, linear.weight, levels), (rows.weight, table.weight, 127))
        for actual, exact, steps in pairs:
            assert actual.dtype == torch.float32
            half_a_step = exact.abs().amax(1, keepdim=True) / steps / 2
            assert ((actual - exact).abs() <= 1.001 * half_a_step).all()
        states = torch.eye(96)  # its codes are exact
        assert torch.allclose(layer(states) - layer.bias, layer.weight.T, rtol=1e-5, atol=1e-6)
        assert torch.equal(rows(torch.arange(50)), rows.weight)
