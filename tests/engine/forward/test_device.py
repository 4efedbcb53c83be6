"""The device of a setting, explicit or automatic."""

import pytest
import torch

from classwire_server.engine.forward.device import resolve
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
