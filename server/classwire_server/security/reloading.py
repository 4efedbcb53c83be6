"""Files that may be replaced while the server runs."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from classwire_server.errors import ConfigError

log = logging.getLogger(__name__)

Contents = TypeVar("Contents")


class ReloadingFiles(Generic[Contents]):
    """What some files hold, read again when one of them has changed.

    What can't be used, as when only one file of two has been replaced yet, is not taken, and said
    once: what was there before stays. Safe for use by any thread. `read` raises ConfigError; so
    does the first reading.
    """

    def __init__(self, paths: Sequence[str], read: Callable[[], Contents]) -> None:
        self._paths = paths
        self._read = read
        self._lock = threading.Lock()  # guards all below
        self._stamps = self._stat()
        self._contents = read()

    def current(self) -> Contents:
        """What the files hold now."""
        with self._lock:
            stamps = self._stat()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._contents = self._read()
                    log.info("%s: read again", self._paths[0])
                except ConfigError as error:
                    log.warning("%s; what was there before stays in use", error)
            return self._contents

    def _stat(self) -> list[tuple[int, int, int] | None]:
        """What changes whenever a file does."""
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
