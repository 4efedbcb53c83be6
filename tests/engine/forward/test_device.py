"""The device of a setting, explicit or automatic."""

import logging

import pytest
import torch

from classwire_server.engine.forward.device import choose_device, is_out_of_memory, resolve
from classwire_server.errors import ConfigError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two CUDA devices and no MPS."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


@pytest.mark.parametrize(
    ("setting", "device"),
    [("auto", "cuda:0"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")],
)
def test_devices(machine: pytest.MonkeyPatch, setting: str, device: str) -> None:
    """Each setting resolves to one device; auto takes the first CUDA device."""
    assert resolve(setting) == device


def test_auto_without_cuda(machine: pytest.MonkeyPatch) -> None:
    """Without CUDA auto takes MPS, and without MPS the CPU."""
    machine.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve("auto") == "cpu"
    machine.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve("auto") == "mps"


@pytest.mark.parametrize("setting", ["cuda:2", "cuda:99", "mps"])
def test_missing_devices(machine: pytest.MonkeyPatch, setting: str) -> None:
    """The error for a missing device names the device and the setting."""
    with pytest.raises(ConfigError, match=rf"^--device: {setting}: this machine has "):
        resolve(setting)


def test_cuda_that_is_not_usable(machine: pytest.MonkeyPatch) -> None:
    """If torch cannot use CUDA, `cuda` is a missing device."""
    machine.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ConfigError, match=r"^--device: cuda: this machine has 0 CUDA devices"):
        resolve("cuda")


def test_the_cpu_asks_nothing_of_cuda(machine: pytest.MonkeyPatch) -> None:
    """A process that has asked for CUDA's devices cannot fork workers that use them."""

    def fail() -> bool:
        raise AssertionError

    machine.setattr(torch.cuda, "is_available", fail)
    assert resolve("cpu") == "cpu"


@pytest.mark.parametrize(
    ("setting", "warnings"), [("auto", 1), ("cuda", 0), ("cuda:1", 0), ("cpu", 0)]
)
def test_auto_that_takes_a_gpu_warns(
    machine: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, setting: str, warnings: int
) -> None:
    """The log says that the code for GPUs has not run on one, where nobody asked for a GPU."""
    choose_device(setting)
    found = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(found) == warnings
    assert all("not yet run on a GPU" in record.getMessage() for record in found)


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_errors_that_mean_no_memory(error: Exception, is_memory: bool) -> None:
    """Torch's allocators, the driver and CUDA's libraries each have an error of their own."""
    assert is_out_of_memory(error) is is_memory
