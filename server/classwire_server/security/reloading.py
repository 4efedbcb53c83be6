"""Reloads files that are replaced while the server runs."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from classwire_server.errors import ConfigError

log = logging.getLogger(__name__)

Contents = TypeVar("Contents")


class ReloadingFiles(Generic[Contents]):
    """The contents of some files, read again when one of them changes.

    If `read` raises ConfigError, for example because only one of two files has been replaced yet,
    the old contents stay in use and the log has one warning. At the start the error is raised.
    Safe for use by any thread.
    """

    def __init__(self, paths: Sequence[str], read: Callable[[], Contents]) -> None:
        self._paths = paths
        self._read = read
        self._lock = threading.Lock()  # guards all below
        self._stamps = self._stat()
        self._contents = read()

    def current(self) -> Contents:
        """Return the contents, reloaded if a file has changed."""
        with self._lock:
            stamps = self._stat()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._contents = self._read()
                    log.info("%s: reloaded", self._paths[0])
                except ConfigError as error:
                    log.warning("%s; the previous version stays in use", error)
            return self._contents

    def _stat(self) -> list[tuple[int, int, int] | None]:
        """Return a value that changes whenever a file does."""
        return [_stamp(path) for path in self._paths]


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
