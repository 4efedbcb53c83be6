"""Models in less than float32: linear layers and embedding tables in int8, or all in half.

Of int8, weights have one scale for each output channel, activations one for each token: its own
largest value. Sums of integers are exact, so the bits of a token depend on nothing else in the
batch. Same scheme: ZeroQuant (Yao et al. 2022, arXiv:2206.01861, section 3.1).

What a compiled model contains is the arithmetic around the product of integers, which the compiler
fuses with what stands before and behind it. The product itself is a custom operator, whose weights
stay outside (`onednn.py`).
"""

from functools import cache

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from .onednn import WeightTable, in_steps

ACTIVATION_LEVELS = 127
"""A token's largest activation; codes are uint8, this far to either side of ZERO_POINT."""

ZERO_POINT = 128

_ROWS_AT_ONCE = 256  # the float32 copies made on the way stay in the cache
_SMALLEST_SCALE = 1e-30


def quantize(model: PreTrainedModel) -> None:
    """Turn every linear layer and embedding table of a float32 model on the CPU into int8, in
    place.

    Each float32 weight is let go before the next one is turned. Raises ValueError, the model
    untouched, where torch has no exact integer products.
    """
    levels = weight_levels()
    names = [name for name, module in model.named_modules() if type(module) in _QUANTIZED]
    for name in names:  # a list of modules would keep all their weights to the end
        model.set_submodule(name, _int8(model.get_submodule(name), levels))


def halve(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Turn the parameters of a model into bfloat16 or float16, in place, one at a time.

    Buffers stay as they are, as when transformers loads a model in that dtype: rotary frequencies
    of 8 bits would be radians off a few hundred tokens into a text. Normalisation and softmax need
    no float32 here: torch's kernels have it inside.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


class Int8Linear(nn.Module):
    """What a linear layer computes, from int8 weights of -levels to levels."""

    def __init__(self, linear: nn.Linear, levels: int) -> None:
        super().__init__()
        self.bias = linear.bias
        self.outputs = linear.out_features
        self.weights = Int8Weights.of(*int8_rows(linear.weight, levels))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """float32, (..., inputs) -> (..., outputs)."""
        largest = states.abs().amax(-1, keepdim=True).clamp_min(_SMALLEST_SCALE)  # (..., 1)
        # Conversion cuts off what stands behind the point: the half makes that rounding.
        codes = (states * (ACTIVATION_LEVELS / largest) + (ZERO_POINT + 0.5)).to(torch.uint8)
        product: torch.Tensor = int8_product(codes, self.weights.digest, self.outputs)
        scaled = product * (largest * (1 / ACTIVATION_LEVELS))
        return scaled if self.bias is None else scaled + self.bias


class Int8Embedding(nn.Module):
    """An embedding table whose rows are int8 with a scale each."""

    rows: torch.Tensor
    scales: torch.Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings = embedding.num_embeddings
        self.padding_idx = embedding.padding_idx
        rows, scales = int8_rows(embedding.weight, levels=127)
        self.register_buffer("rows", rows)  # (embeddings, hidden)
        self.register_buffer("scales", scales[:, None])  # (embeddings, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """int64, (...) -> float32, (..., hidden)."""
        rows: torch.Tensor = functional.embedding(ids, self.rows)  # int8, (..., hidden)
        scales: torch.Tensor = functional.embedding(ids, self.scales)  # (..., 1)
        return rows * scales


_QUANTIZED = (nn.Linear, nn.Embedding)


def _int8(module: nn.Module, levels: int) -> nn.Module:
    if isinstance(module, nn.Linear):
        return Int8Linear(module, levels)
    assert isinstance(module, nn.Embedding)
    return Int8Embedding(module)


def int8_rows(weight: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of a float32 matrix as int8 from -levels to levels, and a scale, (rows,), for each.

    A row with a value that is not finite has a scale that is not finite.
    """
    rows = torch.empty(weight.shape, dtype=torch.int8)
    scales = torch.empty(len(weight))
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        exact = weight.detach()[part]
        scales[part] = (exact.abs().amax(1) / levels).clamp_min(_SMALLEST_SCALE)
        rows[part] = (exact / scales[part, None]).round().nan_to_num(0).to(torch.int8)
    return rows, scales


class Int8Weights:
    """Weights of one linear layer, as oneDNN keeps them.

    `packed` is in oneDNN's own layout, `scales` are float32, (outputs,); see WeightTable for the
    digest.
    """

    def __init__(self, digest: int, rows: torch.Tensor, scales: torch.Tensor) -> None:
        self.digest = digest
        self.packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(rows, None)
        self.scales = scales
        self._zero_points = torch.zeros(len(scales), dtype=torch.int32)

    @staticmethod
    def of(rows: torch.Tensor, scales: torch.Tensor) -> "Int8Weights":
        """The weights with these int8 rows, (outputs, inputs), and scales, (outputs,).

        The product finds them for as long as they are referenced; equal weights are one object.
        """
        return _WEIGHTS.of((rows, scales), lambda digest: Int8Weights(digest, rows, scales))

    def product(self, codes: torch.Tensor) -> torch.Tensor:
        """uint8, (tokens, inputs) -> float32, (tokens, outputs), times the weights' scales."""
        result: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, ZERO_POINT, self.packed, self.scales, self._zero_points,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return result


_WEIGHTS: WeightTable[Int8Weights] = WeightTable()


@torch.library.custom_op("classwire::int8_product", mutates_args=())
def int8_product(codes: torch.Tensor, digest: int, outputs: int) -> torch.Tensor:
    """Codes minus ZERO_POINT times the weights with this digest.

    uint8, (..., inputs) -> float32, (..., outputs): exact integers times the weights' scales.
    Raises KeyError when no model of this process has such weights.
    """
    return in_steps(_WEIGHTS[digest].product, codes)


@int8_product.register_fake
def _(codes: torch.Tensor, digest: int, outputs: int) -> torch.Tensor:
    return codes.new_empty(*codes.shape[:-1], outputs, dtype=torch.float32)


@cache
def weight_levels() -> int:
    """The largest magnitude of weights whose products are exact here: 127, or 64.

    Processors without VNNI add pairs of products in int16 and cut what does not fit: 255 * 127 * 2
    does not, 255 * 64 * 2 does. Raises ValueError where torch has no exact integer products at all.
    """
    for levels in (127, 64):
        if _is_exact(levels):
            return levels
    raise ValueError("torch has no exact int8 products on this machine")


def _is_exact(levels: int) -> bool:
    """Whether products of the largest codes are what they should be, for few and many rows."""
    signs = torch.tensor([1, 1, -1, -1, 1, -1, 1, 1], dtype=torch.int8)
    rows = torch.stack([signs, -signs, signs.abs(), -signs.abs()]).repeat(12, 16) * levels
    codes = torch.tensor([[1], [255]]).expand(2, rows.shape[1]).repeat(20, 1)
    codes[2::3, ::3] = 1
    expected = (codes - ZERO_POINT).float() @ rows.T.float()  # below 2**24: exact
    try:
        weights = Int8Weights(0, rows, torch.ones(len(rows)))
        return all(
            torch.equal(weights.product(codes[:tokens].to(torch.uint8)), expected[:tokens])
            for tokens in (1, 2, len(codes))
        )
    except (AttributeError, RuntimeError):  # not built for this processor
        return False
