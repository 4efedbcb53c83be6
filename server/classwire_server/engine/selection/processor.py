"""Which precisions are faster than float32 on a device: a table, not a measurement.

Timing would choose by chance on a busy machine, and two replicas would give different scores.
"""

from dataclasses import dataclass

from classwire_server.engine import FASTER_ON_CPU, FASTER_ON_GPU, Precision
from classwire_server.engine.cores import processor_features
from classwire_server.engine.forward.int8 import ALL_LEVELS, weight_levels

_INSTRUCTIONS = {
    Precision.INT8: {"avx_vnni", "avx512_vnni", "amx_int8"},
    Precision.BFLOAT16: {"avx512_bf16", "amx_bf16"},
}
"""The instructions of which one makes a precision faster than float32."""


@dataclass(frozen=True)
class Processor:
    """What decides the precision on a CPU.

    `instructions` are named as in /proc/cpuinfo. `has_exact_int8` says whether products of weights
    with all levels are exact.
    """

    instructions: frozenset[str]
    has_exact_int8: bool

    def is_fast_in(self, precision: Precision) -> bool:
        """Whether the precision is faster than float32 on this processor."""
        if precision is Precision.INT8 and not self.has_exact_int8:
            return False
        return not self.instructions.isdisjoint(_INSTRUCTIONS.get(precision, ()))


def this_processor() -> Processor:
    """The processor of this machine. Without /proc/cpuinfo it has no known instructions."""
    try:
        has_exact_int8 = weight_levels() == ALL_LEVELS
    except ValueError:
        has_exact_int8 = False
    words = frozenset(word for line in processor_features() for word in line.split())
    return Processor(words, has_exact_int8)


def faster_than_float32(device: str, processor: Processor) -> tuple[Precision, ...]:
    """The precisions that `--precision auto` tries before float32, in this order."""
    if device != "cpu":
        return FASTER_ON_GPU
    return tuple(filter(processor.is_fast_in, FASTER_ON_CPU))
