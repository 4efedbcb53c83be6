"""Memory that is free, given back to the system."""

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Hand free memory back, where the C library has a way to: loading leaves a lot of it."""
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)
