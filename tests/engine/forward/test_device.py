"""Where a model runs, as asked for or as found."""

import pytest
import torch

from classwire_server.engine.forward.device import resolve
from classwire_server.errors import ConfigError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two CUDA devices and without Apple's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


@pytest.mark.parametrize(
    ("setting", "device"),
    [("auto", "cuda:0"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")],
)
def test_devices(machine: pytest.MonkeyPatch, setting: str, device: str) -> None:
    """A setting means one device; auto is the best there is."""
    assert resolve(setting) == device


def test_auto_without_cuda(machine: pytest.MonkeyPatch) -> None:
    """Without CUDA auto is Apple's device, and without that the CPU."""
    machine.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve("auto") == "cpu"
    machine.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve("auto") == "mps"


@pytest.mark.parametrize("setting", ["cuda:2", "cuda:99", "mps"])
def test_devices_that_are_not_there(machine: pytest.MonkeyPatch, setting: str) -> None:
    """A device that the machine does not have is refused by name, with the setting to change."""
    with pytest.raises(ConfigError, match=rf"^--device: {setting}: this machine has "):
        resolve(setting)


def test_cuda_that_is_not_usable(machine: pytest.MonkeyPatch) -> None:
    """Where torch cannot use CUDA, cuda is refused."""
    machine.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(ConfigError, match=r"^--device: cuda: this machine has 0 CUDA devices"):
        resolve("cuda")
