"""The machine's ceilings: matrix products of BERT-base's sizes with the fastest kernel.

Rates are for all linear layers of one encoder layer (four of 768 x 768, two of 768 x 3072), without
bias, quantisation or other operations. The best of several numbers of tokens counts. The weights
stay in the processor's cache between runs, unlike a real model's.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress

import torch

from .instrument import seconds_of

HIDDEN, INTERMEDIATE = 768, 3_072
PRODUCTS = (
    (4, HIDDEN, HIDDEN),
    (1, HIDDEN, INTERMEDIATE),
    (1, INTERMEDIATE, HIDDEN),
)
"""Count in a layer, inputs, outputs."""
TOKENS = (256, 512, 1_024)
REPETITIONS = 5
"""Runs of each kernel. The fastest counts, so that other load does not lower a ceiling."""
SLOW = 0.2
"""Kernels below this share of the best rate are not run with more tokens."""
_HALF_RANGE = 63  # of 8-bit activations: AVX2 adds pairs of products in 16 bits, which saturate

Kernel = Callable[[], object]


def measure(precision: str) -> dict[str, float]:
    """Return operations per second, by kernel, at its best number of tokens."""
    best: dict[str, float] = {}
    with torch.no_grad():  # prepacked weights can't be inference tensors
        for tokens in TOKENS:
            taken: dict[str, float] = {}
            operations = 0.0
            for often, inputs, outputs in PRODUCTS:
                operations += often * 2 * tokens * inputs * outputs
                for name, run in _kernels(precision, tokens, inputs, outputs):
                    if best and best[name] < SLOW * max(best.values()):
                        continue
                    run()
                    fastest_s = min(seconds_of(run) for _ in range(REPETITIONS))
                    taken[name] = taken.get(name, 0) + often * fastest_s
            rates = {name: operations / time_s for name, time_s in taken.items()}
            best = {name: max(best.get(name, 0), rate) for name, rate in (best | rates).items()}
    return best


def _kernels(
    precision: str, tokens: int, inputs: int, outputs: int
) -> Iterator[tuple[str, Kernel]]:
    """Yield every kernel that this torch and this processor have for a product."""
    x, weights = torch.randn(tokens, inputs), torch.randn(outputs, inputs)
    if precision == "int8":
        yield from _int8_kernels(x, weights)
        return
    if precision == "bfloat16":
        x, weights = x.bfloat16(), weights.bfloat16()
    yield "torch linear", lambda: torch.nn.functional.linear(x, weights)
    with suppress(RuntimeError):  # the processor has no instructions for this precision
        packed = torch.ops.mkldnn._reorder_linear_weight(weights, tokens)
        yield (
            "onednn, weights prepacked",
            lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""),
        )


def _int8_kernels(x: torch.Tensor, weights: torch.Tensor) -> Iterator[tuple[str, Kernel]]:
    tokens, inputs = x.shape
    outputs = len(weights)
    levels = (x * _HALF_RANGE / x.abs().max()).round()
    if "fbgemm" in torch.backends.quantized.supported_engines:
        torch.backends.quantized.engine = "fbgemm"
        quantized = torch.quantize_per_channel(
            weights,
            weights.abs().amax(1) / 127,
            torch.zeros(outputs, dtype=torch.long),
            0,
            torch.qint8,
        )
        fbgemm = torch.ops.quantized.linear_prepack(quantized, None)
        yield (
            "fbgemm",
            lambda: torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
                levels, 1.0, 64, fbgemm
            ),
        )
    if torch.backends.mkldnn.is_available():
        activations = (levels + 64).to(torch.uint8)
        scales = weights.abs().amax(1) / 127
        eight_bits = (weights / scales[:, None]).round().to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(eight_bits, [tokens, inputs])
        zeros = torch.zeros(outputs, dtype=torch.int)
        yield (
            "onednn",
            lambda: torch.ops.onednn.qlinear_pointwise(
                activations, 1.0, 64, packed, scales, zeros, None, 1.0, 0,
                torch.float32, "none", [], "",
            ),
        )  # fmt: skip
    signed, transposed = levels.to(torch.int8), weights.to(torch.int8).t()
    yield "torch._int_mm", lambda: torch._int_mm(signed, transposed)
