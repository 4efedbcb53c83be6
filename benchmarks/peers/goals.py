"""Goals of the comparison: name, bound, measure, and whether the bound is an upper one. Pure."""

from collections.abc import Callable

from benchmarks.figures import Figure

from .figures import Result, lone_of_openvino, of_best_other, of_openvino

Goal = tuple[str, float, Callable[[Result], Figure], bool]

CORES = {1: "one core", 2: "two cores"}
THREADS = {1: "one thread", 2: "two threads"}
_LONE = (
    ("int8", 1, 16, 1.1),
    ("int8", 1, 64, 1.05),
    ("int8", 2, 16, 1.1),
    ("int8", 2, 64, 1.1),
    ("bfloat16", 1, 16, 1.2),
    ("bfloat16", 1, 64, 1.2),
    ("float32", 1, 16, 1.2),
    ("float32", 1, 64, 1.2),
)
"""Precision, threads, tokens of the text, and the bound on our time divided by OpenVINO's."""

GOALS: tuple[Goal, ...] = (
    *(
        (f"int8 compiled ÷ OpenVINO int8, {CORES[cores]}", bound, of_openvino("int8", cores), False)
        for cores, bound in ((1, 1.1), (2, 1.15))
    ),
    *(
        (
            f"float32 compiled ÷ the best other engine, {CORES[cores]}",
            1.0,
            of_best_other("float32", cores),
            False,
        )
        for cores in CORES
    ),
    *(
        (
            f"lone text of {tokens} tokens, {precision}, {THREADS[threads]}, time ÷ OpenVINO's",
            bound,
            lone_of_openvino(precision, tokens, threads),
            True,
        )
        for precision, threads, tokens, bound in _LONE
    ),
)
