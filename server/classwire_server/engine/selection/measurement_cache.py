"""Measurements on disk, so that a second start measures nothing.

Any problem with the folder or with an entry is logged, and costs no more than a measurement. The
server believes these files. It therefore accepts only files and folders that no other user but root
may write to, as for compiled models.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from classwire_server.checkpoint.contents import FileStamp, ReadContents
from classwire_server.engine.compilation.cache import check_owner
from classwire_server.errors import CompileError

from .measurement import Measurement

log = logging.getLogger(__name__)

MOST_ENTRIES = 64
"""The entries that are kept: those that were used last."""
_MOST_BYTES = 1 << 20
_FOLDER = "measurements"
_PARTIAL = "partial-"
_PARTIAL_LIFE_S = 3_600.0


@dataclass(frozen=True)
class Entry:
    """A measurement, and what it holds for: the circumstances and the contents of the files."""

    circumstances: Mapping[str, str]
    files: ReadContents
    measurement: Measurement


class MeasurementCache:
    """Measurements by their circumstances, each a file in a folder inside `cache_folder`.

    Safe for concurrent threads and processes: the last writer wins. No method raises an error.
    """

    def __init__(self, cache_folder: Path) -> None:
        self._folders = (cache_folder.absolute(), cache_folder.absolute() / _FOLDER)

    def path_of(self, circumstances: Mapping[str, str]) -> Path:
        """The file of the entry with these circumstances."""
        key = hashlib.sha256(_encoded(circumstances)).hexdigest()
        return self._folders[-1] / f"{key}.json"

    def find(self, circumstances: Mapping[str, str]) -> Entry | None:
        """The entry with these circumstances, or None."""
        path = self.path_of(circumstances)
        try:
            for place in (*self._folders, path):
                check_owner(place)
            with path.open("rb") as file:
                entry = _decoded(file.read(_MOST_BYTES))
            if entry.circumstances != circumstances:
                raise ValueError("it belongs to others")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (CompileError, OSError) as error:
            log.warning("measurements are not used: %s", error)
            return None
        except Exception as error:  # the file may contain anything
            log.warning("%s: a measurement is damaged (%s)", path, type(error).__name__)
            return None
        with suppress(OSError):  # the folder may be read-only
            os.utime(path)
        return entry

    def keep(self, entry: Entry) -> None:
        """Add an entry, or replace the one with the same circumstances."""
        path, content = self.path_of(entry.circumstances), _content(entry)
        if len(content) > _MOST_BYTES:
            log.info("a measurement is not kept: it would take %d bytes", len(content))
            return
        try:
            for folder in self._folders:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                check_owner(folder)
            self._write(path, content)
            self._evict()
        except (CompileError, OSError) as error:
            log.info("a measurement is not kept: %s", error)

    def drop(self, circumstances: Mapping[str, str]) -> None:
        """Delete the entry with these circumstances, if there is one."""
        with suppress(OSError):
            self.path_of(circumstances).unlink()

    def _write(self, path: Path, content: bytes) -> None:
        descriptor, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise

    def _evict(self) -> None:
        """Delete the entries that were not used the longest, and what killed processes left."""
        folder = self._folders[-1]
        used_s: dict[Path, float] = {}
        for path in folder.iterdir():
            with suppress(OSError):  # another process may delete it at the same time
                used_s[path] = path.stat().st_mtime
        entries = [path for path in used_s if path.suffix == ".json"]
        entries.sort(key=used_s.__getitem__, reverse=True)
        now_s = time.time()
        lost = [
            path
            for path, last_s in used_s.items()
            if path.name.startswith(_PARTIAL) and now_s - last_s > _PARTIAL_LIFE_S
        ]
        for path in (*entries[MOST_ENTRIES:], *lost):
            with suppress(OSError):
                path.unlink()


def _encoded(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _content(entry: Entry) -> bytes:
    body = {
        "circumstances": dict(entry.circumstances),
        "stamps": entry.files.stamps,
        "digest": entry.files.digest,
        "measurement": entry.measurement.as_json(),
    }
    return _encoded({"sha256": hashlib.sha256(_encoded(body)).hexdigest(), "entry": body})


def _decoded(content: bytes) -> Entry:
    """The entry of a file's content. Raises ValueError, KeyError or TypeError if damaged."""
    found = json.loads(content)
    body = found["entry"]
    if found["sha256"] != hashlib.sha256(_encoded(body)).hexdigest():
        raise ValueError("its checksum is another")
    return Entry(
        body["circumstances"],
        ReadContents(tuple(FileStamp(*stamp) for stamp in body["stamps"]), body["digest"]),
        Measurement.from_json(body["measurement"]),
    )
