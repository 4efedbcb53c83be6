"""Signals to a chosen thread of a process, as an operating system may deliver them."""

import ctypes
from pathlib import Path


def send_to_other_thread(pid: int, number: int) -> None:
    """Send a signal to a thread of a process other than its main thread (Linux)."""
    library = ctypes.CDLL(None)
    threads = {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}
    # A thread may have ended by now, and another process may have its id.
    if all(library.tgkill(pid, thread, number) for thread in sorted(threads - {pid})):
        raise ProcessLookupError(f"process {pid} has no thread but its main thread")
