"""A lock on an output, so that only one run at a time writes it."""

from pathlib import Path
from types import ModuleType

from .failures import Failure

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def lock(descriptor: int, output: Path) -> None:
    """Lock the open file or folder of an output until it is closed, or the run is killed.

    Raises Failure if another run has the lock. Does nothing where the system has no locks.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Failure(f"another run writes {output}") from None
    except OSError:  # a file system without locks
        return
