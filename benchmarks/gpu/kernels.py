"""A part: which kernels take the time of a full batch and of a lone text, by torch's profiler."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from classwire_server.engine.forward.runner import Runner

from .engines import EngineBenchmark, batch_of
from .parts import emit, redirect
from .plan import GOAL_TOKENS, PLANS

RUNS = 5
MOST = 12
"""Kernels that are named."""


def measure(name: str, runner: Runner, lengths: Sequence[int], device: str) -> None:
    """Say the time of the largest kernels of a pass, and that of all."""
    batch = batch_of(lengths)
    for _ in range(3):
        runner.run(batch)
    activities = [ProfilerActivity.CPU]
    if device.startswith("cuda"):
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as found:
        for _ in range(RUNS):
            runner.run(batch)
    on_device = device.startswith("cuda")
    field = "self_device_time_total" if on_device else "self_cpu_time_total"
    # An operator's event repeats the time of the kernels that it launched.
    kind = DeviceType.CUDA if on_device else DeviceType.CPU
    averages: list[Any] = [each for each in found.key_averages() if each.device_type == kind]
    events = sorted(averages, key=lambda event: -getattr(event, field))
    total_us = sum(getattr(event, field) for event in events) / RUNS
    emit("pass", batch=name, total_us=total_us)
    for event in events[:MOST]:
        emit(
            "kernel",
            batch=name,
            kernel=event.key[:80],
            us=getattr(event, field) / RUNS,
            launches=event.count / RUNS,
        )


def main() -> None:
    """Measure both. Arguments: plan and device."""
    redirect()
    plan, device = PLANS[sys.argv[1]], sys.argv[2]
    device = "cuda:0" if device == "cuda" else device
    torch.set_num_threads(1)
    engine = EngineBenchmark(plan, device).engine
    full = plan.batch_tokens[-2] // GOAL_TOKENS
    measure("full batch", engine, [GOAL_TOKENS] * full, device)
    measure("lone text", engine, [GOAL_TOKENS], device)


if __name__ == "__main__":
    main()
