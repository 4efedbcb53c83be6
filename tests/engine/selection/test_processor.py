"""The table of precisions that are faster than float32."""

from pathlib import Path

import pytest

from classwire_server.engine import Precision
from classwire_server.engine.forward.int8 import weight_levels
from classwire_server.engine.selection.processor import (
    Processor,
    faster_than_float32,
    this_processor,
)

INT8, BFLOAT16, FLOAT16 = Precision.INT8, Precision.BFLOAT16, Precision.FLOAT16


@pytest.mark.parametrize(
    ("instructions", "has_exact_int8", "expected"),
    [
        pytest.param("avx2 fma", False, (), id="AVX2"),
        pytest.param("avx2 avx512f avx512bw", False, (), id="AVX-512 alone"),
        pytest.param("avx2 avx_vnni", True, (INT8,), id="AVX-VNNI"),
        pytest.param("avx512f avx512_vnni", True, (INT8,), id="AVX-512 VNNI"),
        pytest.param("avx512_vnni avx512_bf16", True, (INT8, BFLOAT16), id="VNNI and BF16"),
        pytest.param("amx_tile amx_int8 amx_bf16", True, (INT8, BFLOAT16), id="AMX"),
        pytest.param("avx512_vnni avx512_bf16", False, (BFLOAT16,), id="VNNI that torch lacks"),
        pytest.param("asimd asimddp i8mm bf16", True, (), id="ARM"),
        pytest.param("", True, (), id="unknown"),
    ],
)
def test_precisions_of_a_processor(
    instructions: str, has_exact_int8: bool, expected: tuple[Precision, ...]
) -> None:
    """int8 needs VNNI or AMX, and exact products with all levels. bfloat16 needs AVX512_BF16 or
    AMX.
    """
    processor = Processor(frozenset(instructions.split()), has_exact_int8)
    assert faster_than_float32("cpu", processor) == expected


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_precisions_of_a_gpu(device: str) -> None:
    """On a GPU the processor does not matter: bfloat16, then float16."""
    assert faster_than_float32(device, Processor(frozenset(), False)) == (BFLOAT16, FLOAT16)


def test_this_processor() -> None:
    """The instructions are those in /proc/cpuinfo, and int8 is exact if it has all levels."""
    processor = this_processor()
    assert processor.has_exact_int8 == (weight_levels() == 127)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line.split() for line in cpuinfo.read_text("utf-8").splitlines()]
        (flags, *_) = [words for words in lines if words[:1] in (["flags"], ["Features"])]
        assert processor.instructions >= set(flags[2:])
