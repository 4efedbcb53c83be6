"""The results of an unfinished file: a part for each row group, made one file at the end."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from classwire import Model
from classwire.cli.failures import Failure, WrongUse
from classwire.cli.locking import lock
from classwire.cli.resumption import Written, foreign
from classwire.cli.rows.parquet import RowGroups

from .results import ResultColumns

_KEY = b"classwire"
"""Key of the origin in the metadata of a file of results."""
_WHOLE = "whole"
"""Name of the file that becomes the output."""
_NAME = re.compile(rf"\d{{6,}}|{_WHOLE}")
_MAGIC = b"PAR1"
"""What every file of Parquet begins with."""


def origin_of(source: Path, model: Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the results of a file depend on: its content, the model and the settings.

    Raises Failure if the model is not loaded yet.
    """
    if model.fingerprint is None:
        raise Failure(f"{model.name} is {model.state}; wait with `classwire health --wait-s 60`")
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    given = {name: value for name, value in settings.items() if value not in (None, "")}
    origin = given | {"input": digest, "model": model.name, "fingerprint": model.fingerprint}
    as_json: dict[str, Any] = json.loads(json.dumps(origin))
    return as_json


def parts_folder(output: Path) -> Path:
    """Return the folder of an output's parts, which is next to it."""
    return output.with_name(f"{output.name}.parts")


def other_files(output: Path) -> list[Path]:
    """Return what is in the folder of an output's parts, but is no part."""
    folder = parts_folder(output)
    return [path for path in folder.iterdir() if not _is_part(path)] if folder.is_dir() else []


@dataclass(frozen=True, slots=True)
class Begun:
    """The results that earlier runs left of a file."""

    groups: int = 0
    """Number of its first row groups that have results."""
    written: Written = field(default_factory=Written)
    is_finished: bool = False
    """Whether the output is there."""


class Parts:
    """The parts of one output. The output appears when all are there.

    A part is complete if it can be read: a file of Parquet ends with what its readers begin with.
    Only one run at a time changes parts, until `close`; another one raises Failure. Where the
    system has no locks, any run may change them.
    """

    def __init__(
        self, output: Path, groups: RowGroups, origin: Mapping[str, Any], columns: ResultColumns
    ) -> None:
        self._output = output
        self._folder = parts_folder(output)
        self._groups = groups
        self._origin = origin
        self._error = columns.error
        self._lock: int | None = None  # descriptor of the folder
        metadata = dict(groups.schema.metadata or {}) | {_KEY: json.dumps(origin).encode()}
        self._schema = pa.schema([*groups.schema, *columns.schema], metadata)

    def begun(self) -> Begun:
        """Return what earlier runs left. Raises WrongUse if they had another input or settings."""
        sizes = self._groups.sizes
        if self._output.exists():
            errors = self._errors(self._output, sum(sizes))
            if errors is None:
                raise foreign(self._output, "it is no Parquet file, or damaged")
            self.discard()  # an earlier run was killed before it did
            written = Written(sum(sizes), errors, input_bytes=self._groups.size_bytes)
            return Begun(len(sizes), written, is_finished=True)
        written = Written()
        for group, size in enumerate(sizes):
            errors = self._errors(self._part(group), size)
            if errors is None:
                return Begun(group, written)
            size_bytes = self._groups.bytes_of(group + 1)
            written = Written(written.rows + size, written.errors + errors, input_bytes=size_bytes)
        return Begun(len(sizes), written)

    def begin(self) -> None:
        """Create the folder, and lock it. The system ends the lock of a run that is killed.

        Raises Failure if another run has the lock, and OSError.
        """
        while self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            if os.name == "nt":  # it opens no folder
                return
            self._lock = os.open(self._folder, os.O_RDONLY)
            try:
                lock(self._lock, self._output)
            except Failure:
                self.close()
                raise
            if not self._folder.exists():  # another run has just removed it
                self.close()

    def write(self, group: int, table: pa.Table) -> None:
        """Write a row group with its results."""
        self.begin()
        table = table.replace_schema_metadata(self._schema.metadata)
        parquet.write_table(table, self._part(group), row_group_size=table.num_rows)

    def finish(self) -> None:
        """Make the parts one file, the output, and remove them. Holds a row group in memory."""
        self.begin()
        whole = self._folder / _WHOLE
        with parquet.ParquetWriter(whole, self._schema) as writer:
            for group, size in enumerate(self._groups.sizes):
                with parquet.ParquetFile(self._part(group)) as part:
                    writer.write_table(part.read(), row_group_size=size)
        os.replace(whole, self._output)
        self._remove()

    def discard(self) -> None:
        """Remove what earlier runs left, except the output."""
        if self._folder.is_dir():
            self.begin()
            self._remove()
            self.close()

    def close(self) -> None:
        """Let other runs change the parts."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _part(self, group: int) -> Path:
        return self._folder / f"{group:06}"

    def _remove(self) -> None:
        """Remove the parts, and their folder if it has nothing else."""
        for path in self._folder.iterdir():
            if _is_part(path):
                path.unlink()
        with suppress(OSError):
            self._folder.rmdir()

    def _errors(self, path: Path, rows: int) -> int | None:
        """The number of errors in a file of results; None for a file that is incomplete."""
        try:
            with parquet.ParquetFile(path) as file:
                found = _origin_in(file.schema_arrow)
                if found != self._origin or file.metadata.num_rows != rows:
                    raise self._foreign(found)
                if self._error not in file.schema_arrow.names:
                    raise self._foreign({})
                # Of a column whose name has a dot, it may read others too.
                without: int = file.read(columns=[self._error]).column(self._error).null_count
                return rows - without
        except (pa.ArrowException, OSError):
            return None

    def _foreign(self, found: Mapping[str, Any]) -> WrongUse:
        names = sorted(found.keys() | self._origin.keys())
        different = [name for name in names if found.get(name) != self._origin.get(name)]
        if not found:
            why = "another command wrote it"
        elif not different or "input" in different:
            why = f"{self._groups.name} has changed"
        else:
            why = f"it has another {different[0].replace('_', ' ')}"
        return foreign(self._output, why)


def _is_part(path: Path) -> bool:
    """Whether a file has the name of a part, and is a file of results or how one begins."""
    if not (_NAME.fullmatch(path.name) and path.is_file()):
        return False
    try:
        return _KEY in (parquet.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):  # a killed run left it incomplete
        with path.open("rb") as file:
            return _MAGIC.startswith(file.read(len(_MAGIC)))


def _origin_in(schema: pa.Schema) -> Mapping[str, Any]:
    """The origin in a file of results; empty if another program wrote the file."""
    try:
        found = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
