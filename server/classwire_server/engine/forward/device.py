"""The devices that torch finds on this machine."""

import torch

from classwire_server.engine import Choice
from classwire_server.errors import ConfigError

_OUT_OF_MEMORY_ON_CPU = ("can't allocate memory", "not enough memory")


def choose_device(wanted: str) -> Choice:
    """Choose the device for a setting: "auto" takes the first available of cuda:0, mps and cpu.

    Raises ConfigError when the machine does not have the device.
    """
    device = resolve(wanted)
    why = "set by --device"
    if wanted == "auto":
        is_alone = device == "cpu"
        why = "torch sees neither CUDA nor MPS" if is_alone else "the first that torch sees"
    return Choice("device", device, why)


def resolve(device: str) -> str:
    """Torch's name for the device of a setting. Raises ConfigError as `choose_device` does."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda:0" if gpus else "mps" if mps else "cpu"
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        if index >= gpus:
            raise ConfigError("device", f"{device}: this machine has {gpus} CUDA devices for torch")
        return f"cuda:{index}"
    if device == "mps" and not mps:
        raise ConfigError("device", "mps: this machine has none for torch")
    return device


def answers(device: str) -> bool:
    """Whether the device still computes. One that is only out of memory counts as yes."""
    try:
        return int(torch.ones(1, device=device).sum().item()) == 1
    except RuntimeError as error:
        return is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of a forward pass means that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in _OUT_OF_MEMORY_ON_CPU
    )
