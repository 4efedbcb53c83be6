"""The devices that torch finds on this machine."""

import logging

import torch

from classwire_server.engine import Choice
from classwire_server.errors import ConfigError

log = logging.getLogger(__name__)

_OUT_OF_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""Parts of torch's messages when memory runs out on the CPU, and in libraries of CUDA."""


def choose_device(wanted: str) -> Choice:
    """Choose the device for a setting: "auto" takes the first available of cuda:0, mps and cpu.

    Logs a warning where "auto" takes a GPU, since this code has not run on one. Raises ConfigError
    when the machine does not have the device.
    """
    device = resolve(wanted)
    why = "set by --device"
    if wanted == "auto":
        is_cpu = device == "cpu"
        why = "torch sees neither CUDA nor MPS" if is_cpu else "the first that torch sees"
        if not is_cpu:
            log.warning(
                "--device auto takes %s; Classwire's code for GPUs is written, not yet run on a "
                "GPU; --device cpu avoids it",
                device,
            )
    return Choice("device", device, why)


def resolve(device: str) -> str:
    """Torch's name for the device of a setting. Raises ConfigError as `choose_device` does."""
    if device == "cpu":  # a process that has asked for CUDA cannot fork workers that use it
        return device
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
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def forbid_tf32(device: str) -> None:
    """Keep products of float32 in float32 on this device, once, before the first.

    Some containers switch TF32 on by an environment variable. The check against direct use would
    not notice, since both sides would use it.
    """
    if device != "cpu":
        torch.set_float32_matmul_precision("highest")


def release(device: str) -> None:
    """Return the memory that torch holds and no tensor uses to a CUDA device.

    After the choice of an engine that is another copy of the weights or more.
    """
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
