"""Compiled models on disk, whole or not there at all.

What lies here is run as native code, so it is taken only from a folder that nobody but its user
(or root) writes to, and only with the checksums that were written with it.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from classwire_server.errors import CompileError

log = logging.getLogger(__name__)

_CHECKSUMS = "sha256.json"
_PARTIAL = "partial-"


def cache_folder(setting: str) -> Path:
    """The folder that --compile-cache names, or the user's own."""
    if setting:
        return Path(os.path.expanduser(setting))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "classwire"


class CompileCache:
    """Artefacts by key, each a folder. Safe for several threads and processes at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def find(self, key: str) -> Path | None:
        """The artefact of a key, whole, or None. A damaged one is deleted.

        Raises CompileError when others could have written it.
        """
        artefact = self.folder / key
        if not artefact.is_dir():
            return None
        for folder in (self.folder, artefact):
            _check_owner(folder)
        if _is_whole(artefact):
            return artefact
        log.warning("%s: a compiled model is damaged; deleting it", artefact)
        shutil.rmtree(artefact, ignore_errors=True)
        return None

    def fill(self, key: str, write: Callable[[Path], None]) -> Path:
        """The artefact of a key, newly written by `write` into the folder that it is given.

        When another process was faster, its artefact is kept. Raises CompileError when the folder
        cannot be written or belongs to others, and leaves nothing behind then.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(self.folder)
            self.sweep()
            with self._partial() as partial:
                write(partial)
                _seal(partial)
                return self._publish(partial, key)
        except OSError as error:
            raise CompileError(f"{self.folder}: {error.strerror or error}") from error

    def sweep(self) -> None:
        """Delete what processes left behind that were ended while they compiled."""
        for partial in self.folder.glob(f"{_PARTIAL}*"):
            with suppress(OSError), _locked(partial):
                shutil.rmtree(partial, ignore_errors=True)

    @contextmanager
    def _partial(self) -> Iterator[Path]:
        """A folder that is deleted at the end, by another process if need be."""
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self.folder))
        with _locked(partial):
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _publish(self, partial: Path, key: str) -> Path:
        artefact = self.folder / key
        try:
            partial.rename(artefact)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if self.find(key) is None:  # was damaged, and is deleted now
                partial.rename(artefact)
        _sync(self.folder)
        return artefact


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder; the lock ends with the process. Raises OSError when another one holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _check_owner(folder: Path) -> None:
    status = folder.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise CompileError(
            f"{folder}: belongs to another user, whose code would be run; "
            "name a folder of your own by --compile-cache"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CompileError(
            f"{folder}: other users may write to it, whose code would be run; chmod go-w it, or "
            "name another by --compile-cache"
        )


def _seal(folder: Path) -> None:
    """Write the checksums of the files in a folder, and everything to the disk."""
    checksums = {path.name: _checksum(path) for path in folder.iterdir()}
    (folder / _CHECKSUMS).write_text(json.dumps(checksums, sort_keys=True), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        _sync(path)


def _is_whole(folder: Path) -> bool:
    try:
        checksums = json.loads((folder / _CHECKSUMS).read_bytes())
        return bool(checksums) and all(
            _checksum(folder / name) == checksum for name, checksum in checksums.items()
        )
    except (OSError, ValueError, AttributeError):
        return False


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
