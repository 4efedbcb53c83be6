"""The files that a checkpoint is loaded from: whether they are those of an earlier start."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .broken_files import OTHER_WEIGHTS, weights_in

_MOST_FILES = 1_000
_ADAPTERS = "adapter_model."


class FileStamp(NamedTuple):
    """What the file system knows of a file, which changes when someone writes or replaces it.

    `place` is the file's path in its folder, after the folder's number.
    """

    place: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


@dataclass(frozen=True)
class ReadContents:
    """Files whose contents have been read: their stamps then, and the digest."""

    stamps: tuple[FileStamp, ...]
    digest: str


class CheckpointContents:
    """The files in a checkpoint's folders that loading may read, as they are now.

    `folders` has one folder, or two for an adapter in a folder of its own. Raises OSError for a
    file that cannot be read, and CheckpointError for a broken index of weights.
    """

    def __init__(self, folders: Sequence[Path], *, safetensors_only: bool) -> None:
        self._paths: dict[str, Path] = {}
        for number, folder in enumerate(folders):
            read = {*weights_in(folder, safetensors_only)}
            for path in (*_others_in(folder), *read):
                self._paths[f"{number}/{os.path.relpath(path, folder)}"] = path
        if len(self._paths) > _MOST_FILES:
            raise OSError(f"a checkpoint of more than {_MOST_FILES} files")
        self.location = "\n".join(map(os.path.realpath, folders))
        self.stamps = self._stamps()

    def digest(self) -> str:
        """SHA-256 of the files' names and contents. Reads all of them, about 1 GB a second."""
        digest = hashlib.sha256()
        for place, path in sorted(self._paths.items()):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{place}\n{content}\n".encode())
        return digest.hexdigest()

    def are_steady(self) -> bool:
        """Whether nobody has written or replaced a file since this object was made."""
        try:
            return self._stamps() == self.stamps
        except OSError:
            return False

    def _stamps(self) -> tuple[FileStamp, ...]:
        found = {place: path.stat() for place, path in sorted(self._paths.items())}
        return tuple(
            FileStamp(place, of.st_size, of.st_mtime_ns, of.st_ctime_ns, of.st_ino)
            for place, of in found.items()
        )


def _others_in(folder: Path) -> Iterator[Path]:
    """Yield a folder's files, but no weights of a base model and nothing of other checkpoints."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "checkpoint-"))]
        for name in files:
            path = Path(parent, name)
            is_weights = path.suffix in OTHER_WEIGHTS and not name.startswith(_ADAPTERS)
            if not (is_weights or name.startswith(".")) and path.is_file():
                yield path
