"""Sizes of a run, the goals on an H200, and peaks of GPUs. Pure."""

from dataclasses import dataclass

from benchmarks.checkpoints import BERT_BASE, Shape
from classwire_server.engine import Precision

PEAK_BF16_FLOPS = {"H200": 989e12, "H100": 989e12}
"""Dense products in bfloat16, by a part of the GPU's name.

NVIDIA's datasheets of both (SXM): 1,979 TFLOPS with sparsity, half of it dense.
"""
GOAL_GPU = "H200"
GOAL_TOKENS = 128
"""Length of the texts of the goals."""
GOAL_TOKENS_PER_S = 2.8e6
GOAL_LONE_MS = 1.0
GOAL_SERVED_SHARE = 0.5


@dataclass(frozen=True)
class GpuPlan:
    """The extent of a run. Each rate takes about `seconds`, divided into `rounds`."""

    name: str
    shape: Shape
    precision: Precision
    lengths: tuple[int, ...]
    batch_tokens: tuple[int, ...]
    small_batches: tuple[int, ...]
    lone_tokens: tuple[int, ...]
    lone_runs: int
    mixed_texts: int
    padded_by: tuple[int, ...]
    matrix: int
    seconds: float
    rounds: int
    served: "ServerLoad"


@dataclass(frozen=True)
class ServerLoad:
    """Servers on one device. Each gets `loads` streams of `texts` texts, from a process each."""

    servers: tuple[int, ...]
    loads: int
    texts: int
    in_flight: int
    lone_calls: int


FULL = GpuPlan(
    name="full",
    shape=BERT_BASE,
    precision=Precision.BFLOAT16,
    lengths=(16, 64, 128, 512),
    batch_tokens=(4_096, 16_384, 65_536),
    small_batches=(256, 1_024, 4_096, 8_192, 16_384),
    lone_tokens=(16, 128, 512),
    lone_runs=300,
    mixed_texts=400,
    padded_by=(32, 128),
    matrix=8_192,
    seconds=0.6,
    rounds=3,
    served=ServerLoad(servers=(1, 4), loads=2, texts=12_288, in_flight=2_048, lone_calls=300),
)
TRIAL = GpuPlan(
    name="trial",
    shape=Shape("tiny", layers=1, hidden=64, heads=1, intermediate=128),
    precision=Precision.FLOAT32,  # half precision is slow on most CPUs
    lengths=(16, 128),
    batch_tokens=(256, 512),
    small_batches=(64, 256),
    lone_tokens=(16, 128),
    lone_runs=5,
    mixed_texts=20,
    padded_by=(8,),
    matrix=128,
    seconds=0.02,
    rounds=2,
    served=ServerLoad(servers=(1,), loads=2, texts=64, in_flight=32, lone_calls=5),
)
"""For a try on a machine without a GPU."""
PLANS = {plan.name: plan for plan in (FULL, TRIAL)}


def peak_bf16_flops(device_name: str) -> float | None:
    """The peak of a GPU by its name; None for one that is not known here."""
    found = (peak for part, peak in PEAK_BF16_FLOPS.items() if part in device_name)
    return next(found, None)
