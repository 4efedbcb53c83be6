"""What torch knows of devices."""

import torch

from classwire_server.engine import Choice
from classwire_server.errors import ConfigError

_OUT_OF_MEMORY_ON_CPU = ("can't allocate memory", "not enough memory")


def choose_device(wanted: str) -> Choice:
    """The device to use for a setting: "auto" takes the first of cuda:0, mps and cpu that is there.

    Raises ConfigError when the machine does not have the device asked for.
    """
    device = resolve(wanted)
    why = "as --device says"
    if wanted == "auto":
        is_alone = device == "cpu"
        why = "torch sees neither CUDA nor MPS" if is_alone else "the first that torch sees"
    return Choice("device", device, why)


def resolve(device: str) -> str:
    """The device of a setting, by torch's name. Raises ConfigError as `choose_device` does."""
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
    """Whether the device still computes, or is only out of memory."""
    try:
        return int(torch.ones(1, device=device).sum().item()) == 1
    except RuntimeError as error:
        return is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of a forward pass says that memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error) for words in _OUT_OF_MEMORY_ON_CPU
    )
