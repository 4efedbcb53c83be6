"""Models in lower precision: linear layers and embedding tables in int8, or everything in half.

In int8, weights have one scale for each output channel and activations one for each token, from its
largest magnitude. Sums of integers are exact, so the bits of a token do not depend on the rest of
the batch. The scheme is that of ZeroQuant (Yao et al. 2022, arXiv:2206.01861, section 3.1).

The compiler fuses the arithmetic around an integer product with its neighbours. The product itself
is a custom operator, whose weights stay outside the compiled model (`onednn.py`).
"""

from functools import cache, cached_property

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from .onednn import WeightTable, in_steps

ACTIVATION_LEVELS = 127
"""The code of a token's largest activation. Codes are uint8, up to this far from ZERO_POINT."""

ZERO_POINT = 128

ALL_LEVELS = 127
"""The largest magnitude of an int8 weight."""

_ROWS_AT_ONCE = 256  # keeps the temporary float32 copies in the cache
_SMALLEST_SCALE = 1e-30


def quantize(model: PreTrainedModel) -> None:
    """Convert the linear layers and embedding tables of a float32 model to int8, in place.

    The model is on the CPU. Frees each float32 weight before it converts the next. Raises
    ValueError, and leaves the model as it is, where torch has no exact integer products.
    """
    levels = weight_levels()
    names = [name for name, module in model.named_modules() if type(module) in _QUANTIZED]
    for name in names:  # a list of modules would keep all weights alive
        model.set_submodule(name, _int8(model.get_submodule(name), levels))


def halve(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Convert the parameters of a model to bfloat16 or float16, in place, one at a time.

    Buffers stay float32, as when transformers loads a model in that dtype: rotary frequencies with
    8 significant bits would be radians off after a few hundred tokens. Normalisation and softmax
    need no float32 inputs: torch's kernels accumulate in float32.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


class Int8Linear(nn.Module):
    """A linear layer with int8 weights from -levels to levels."""

    def __init__(self, linear: nn.Linear, levels: int) -> None:
        super().__init__()
        self.bias = linear.bias
        self.outputs = linear.out_features
        self.weights = Int8Weights.of(*int8_rows(linear.weight, levels))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """float32, (..., inputs) -> (..., outputs)."""
        largest = states.abs().amax(-1, keepdim=True).clamp_min(_SMALLEST_SCALE)  # (..., 1)
        # The conversion to uint8 truncates; adding 0.5 first makes it round.
        codes = (states * (ACTIVATION_LEVELS / largest) + (ZERO_POINT + 0.5)).to(torch.uint8)
        product: torch.Tensor = int8_product(codes, self.weights.digest, self.outputs)
        scaled = product * (largest * (1 / ACTIVATION_LEVELS))  # (..., outputs)
        return scaled if self.bias is None else scaled + self.bias

    @cached_property
    def weight(self) -> torch.Tensor:
        """The plain weight, float32, (outputs, inputs), for a model's code that reads it.

        Takes memory from the first time on.
        """
        return self.weights.dense()


class Int8Embedding(nn.Module):
    """An embedding table with int8 rows and one scale for each row."""

    rows: torch.Tensor
    scales: torch.Tensor

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings = embedding.num_embeddings
        self.padding_idx = embedding.padding_idx
        rows, scales = int8_rows(embedding.weight, levels=ALL_LEVELS)
        self.register_buffer("rows", rows)  # (embeddings, hidden)
        self.register_buffer("scales", scales[:, None])  # (embeddings, 1)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """int64, (...) -> float32, (..., hidden)."""
        rows: torch.Tensor = functional.embedding(ids, self.rows)  # int8, (..., hidden)
        scales: torch.Tensor = functional.embedding(ids, self.scales)  # (..., 1)
        return rows * scales  # (..., hidden)

    @cached_property
    def weight(self) -> torch.Tensor:
        """The plain table, float32, (embeddings, hidden), for a model's code that reads it.

        Takes memory from the first time on.
        """
        return self.rows * self.scales


_QUANTIZED = (nn.Linear, nn.Embedding)


def _int8(module: nn.Module, levels: int) -> nn.Module:
    if isinstance(module, nn.Linear):
        return Int8Linear(module, levels)
    assert isinstance(module, nn.Embedding)
    return Int8Embedding(module)


def int8_rows(weight: torch.Tensor, levels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize a float32 matrix: int8 rows from -levels to levels, and their scales, (rows,).

    A row with a value that is not finite gets a scale that is not finite.
    """
    rows = torch.empty(weight.shape, dtype=torch.int8)  # (rows, columns)
    scales = torch.empty(len(weight))  # (rows,)
    for start in range(0, len(weight), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        exact = weight.detach()[part]  # (rows at once, columns)
        scales[part] = (exact.abs().amax(1) / levels).clamp_min(_SMALLEST_SCALE)
        rows[part] = (exact / scales[part, None]).round().nan_to_num(0).to(torch.int8)
    return rows, scales


class Int8Weights:
    """The int8 weights of one linear layer.

    `packed` is in oneDNN's own layout, `scales` are float32, (outputs,). WeightTable explains the
    digest.
    """

    def __init__(self, digest: int, rows: torch.Tensor, scales: torch.Tensor) -> None:
        self.digest = digest
        self.packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(rows, None)
        self.scales = scales
        self._inputs = rows.shape[1]
        self._zero_points = torch.zeros(len(scales), dtype=torch.int32)

    @staticmethod
    def of(rows: torch.Tensor, scales: torch.Tensor) -> "Int8Weights":
        """The weights with these int8 rows, (outputs, inputs), and scales, (outputs,).

        `int8_product` finds them while they are referenced. Equal weights are one object.
        """
        return _WEIGHTS.of((rows, scales), lambda digest: Int8Weights(digest, rows, scales))

    @property
    def tensors(self) -> list[torch.Tensor]:
        """What `product` multiplies by, in the order in which compiled code reads it."""
        return [self.packed, self.scales, self._zero_points]

    def product(self, codes: torch.Tensor) -> torch.Tensor:
        """uint8, (tokens, inputs) -> float32, (tokens, outputs), scaled by the weights' scales."""
        result: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, ZERO_POINT, self.packed, self.scales, self._zero_points,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return result

    def dense(self) -> torch.Tensor:
        """The weights in float32, (outputs, inputs)."""
        codes = torch.eye(self._inputs, dtype=torch.uint8) + ZERO_POINT  # (inputs, inputs)
        return self.product(codes).T.contiguous()


_WEIGHTS: WeightTable[Int8Weights] = WeightTable()


@torch.library.custom_op("classwire::int8_product", mutates_args=())
def int8_product(codes: torch.Tensor, digest: int, outputs: int) -> torch.Tensor:
    """Multiply (codes - ZERO_POINT) by the weights with this digest.

    uint8, (..., inputs) -> float32, (..., outputs): exact integers times the weights' scales.
    Raises KeyError when no model of this process has weights with this digest.
    """
    return in_steps(_WEIGHTS[digest].product, codes)


@int8_product.register_fake
def _(codes: torch.Tensor, digest: int, outputs: int) -> torch.Tensor:
    return codes.new_empty(*codes.shape[:-1], outputs, dtype=torch.float32)  # (..., outputs)


@cache
def weight_levels() -> int:
    """The largest magnitude of weights whose products are exact on this processor: 127, or 64.

    Processors without VNNI add pairs of products in int16 with saturation: 255 * 127 * 2 does not
    fit, 255 * 64 * 2 does (oneDNN developer guide, "Nuances of int8 Computations",
    https://oneapi-src.github.io/oneDNN/dev_guide_int8_computations.html). Raises ValueError where
    torch has no exact integer products at all.
    """
    for levels in (ALL_LEVELS, 64):
        if _is_exact(levels):
            return levels
    raise ValueError("torch has no exact int8 products on this machine")


def _is_exact(levels: int) -> bool:
    """Whether products of the largest codes are exact, for few and many rows."""
    signs = torch.tensor([1, 1, -1, -1, 1, -1, 1, 1], dtype=torch.int8)
    rows = torch.stack([signs, -signs, signs.abs(), -signs.abs()]).repeat(12, 16) * levels
    codes = torch.tensor([[1], [255]]).expand(2, rows.shape[1]).repeat(20, 1)  # (40, 128)
    codes[2::3, ::3] = 1
    expected = (codes - ZERO_POINT).float() @ rows.T.float()  # (40, 48), below 2**24: exact
    try:
        weights = Int8Weights(0, rows, torch.ones(len(rows)))
        return all(
            torch.equal(weights.product(codes[:tokens].to(torch.uint8)), expected[:tokens])
            for tokens in (1, 2, len(codes))
        )
    except (AttributeError, RuntimeError):  # torch is not built with it for this processor
        return False
