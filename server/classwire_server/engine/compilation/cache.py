"""Compiled models on disk, each complete or absent.

The server runs these files as native code. It therefore accepts only a folder that no other user
but root may write to, and only files that match the checksums written with them.
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
    """The folder that --compile-cache names, by default in the user's cache folder."""
    if setting:
        return Path(os.path.expanduser(setting))
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "classwire"


class CompileCache:
    """Artefacts by key, each a folder. Safe for concurrent threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def find(self, key: str) -> Path | None:
        """The complete artefact of a key, or None. Deletes a damaged one.

        Raises CompileError when other users could have written it.
        """
        artefact = self.folder / key
        if not artefact.is_dir():
            return None
        for folder in (self.folder, artefact):
            check_owner(folder)
        if _is_whole(artefact):
            return artefact
        log.warning("%s: a compiled model is damaged; deleting it", artefact)
        shutil.rmtree(artefact, ignore_errors=True)
        return None

    def fill(self, key: str, write: Callable[[Path], None]) -> Path:
        """Add the artefact of a key, which `write` writes into the folder that it gets.

        Keeps the artefact of another process that was faster. Raises CompileError, and leaves
        nothing behind, when the cache folder is not writable or other users may write to it.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_owner(self.folder)
            self.sweep()
            with self._partial() as partial:
                write(partial)
                _seal(partial)
                return self._publish(partial, key)
        except OSError as error:
            raise CompileError(f"{self.folder}: {error.strerror or error}") from error

    def sweep(self) -> None:
        """Delete the partial artefacts of processes that ended while they compiled."""
        for partial in self.folder.glob(f"{_PARTIAL}*"):
            with suppress(OSError), _locked(partial):
                shutil.rmtree(partial, ignore_errors=True)

    @contextmanager
    def _partial(self) -> Iterator[Path]:
        """A folder that is deleted on exit. If this process is killed, `sweep` deletes it."""
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
            if self.find(key) is None:  # it was damaged, and `find` has deleted it
                partial.rename(artefact)
        _sync(self.folder)
        return artefact


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder; the lock ends with the process. Raises OSError when it is locked already."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def check_owner(path: Path) -> None:
    """Raise CompileError for a file or folder that a user other than this one and root may write
    to, and OSError if there is none.
    """
    status = path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        raise CompileError(
            f"{path}: belongs to another user, whose code and figures would be used; "
            "name a folder of your own by --compile-cache"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CompileError(
            f"{path}: other users may write to it, whose code and figures would be used; "
            "chmod go-w it, or name another by --compile-cache"
        )


def _seal(folder: Path) -> None:
    """Write the checksums of the files in a folder, and flush everything to disk."""
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
