"""Rows of a Parquet file, one row group at a time."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from classwire.cli.failures import WrongUse

from .row import Columns, Place, Row, no_column, similar

if TYPE_CHECKING:
    import pyarrow

_BATCH_ROWS = 1_024
"""Rows that are Python objects at one time."""
_BROKEN = "is not UTF-8"


class RowGroups:
    """The row groups of a Parquet file that have rows, as tables and as rows. A context manager.

    Raises WrongUse for a file that is not Parquet, and for a column that is missing, is there twice
    or has a wrong type. `begin_bytes` is where the file begins in what the progress counts.
    """

    def __init__(self, path: Path, columns: Columns, begin_bytes: int = 0) -> None:
        pyarrow_or_fail()
        from pyarrow import parquet

        self.name = str(path)
        self.size_bytes = path.stat().st_size
        self._begin_bytes = begin_bytes
        self._columns = columns
        with self._reading("is no Parquet file, or damaged"):
            self._file = parquet.ParquetFile(path)
            self.schema = self._file.schema_arrow
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._groups = [group for group, rows in enumerate(sizes) if rows]
        self.sizes: list[int] = [rows for rows in sizes if rows]
        """Number of rows of each row group."""
        try:
            for name in columns.named:
                self._check(name)
        except WrongUse:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def table(self, group: int, names: Sequence[str] | None = None) -> "pyarrow.Table":
        """Read a row group, or its columns `names`. Raises WrongUse if the file is damaged."""
        before = sum(self.sizes[:group])
        with self._reading(f"is damaged after row {before - 1}" if before else "is damaged"):
            return self._file.read_row_group(self._groups[group], columns=names)

    def rows(self) -> Iterator[Row]:
        """Yield all rows. It reads no other columns than those of texts and ids."""
        for group in range(len(self.sizes)):
            yield from self.rows_of(group, self.table(group, self._columns.named))

    def rows_of(self, group: int, table: "pyarrow.Table") -> Iterator[Row]:
        """Yield the rows of a row group, which `table` holds."""
        index, count = sum(self.sizes[:group]), sum(self.sizes)
        names = self._columns.named
        for batch in table.select(names).to_batches(max_chunksize=_BATCH_ROWS):
            values = [_values(batch.column(place)) for place in range(len(names))]
            for record in zip(*values, strict=True):
                end_bytes = self._begin_bytes + self.size_bytes * (index + 1) // count
                place = Place(index, f"row {index}", end_bytes, _BROKEN)
                yield place.row(dict(zip(names, record, strict=True)), self._columns)
                index += 1

    def bytes_of(self, groups: int) -> int:
        """Return how much of the file the first `groups` row groups are, in proportion to rows."""
        rows: int = sum(self.sizes[:groups])
        return self.size_bytes * rows // max(sum(self.sizes), 1)

    def _check(self, name: str) -> None:
        places = self.schema.get_all_field_indices(name)
        if not places:
            alike = similar(self.schema.names, name)
            advice = f"is it {alike!r}?" if alike else "nested columns have no names here"
            raise no_column(self.name, name, self.schema.names, advice)
        if len(places) > 1:
            where = " and ".join(str(place + 1) for place in places)
            raise WrongUse(f"{self.name}: columns {where} have the same name, {name!r}")
        kind = self.schema.field(places[0]).type
        if name in (self._columns.text, self._columns.pair) and not _is_text(kind):
            raise WrongUse(f"{self.name}: column {name!r} holds no text but {kind}")
        if not _is_text(kind) and not _is_number(kind):
            raise WrongUse(f"{self.name}: column {name!r} holds {kind}, which is no id for JSON")

    @contextmanager
    def _reading(self, problem: str) -> Iterator[None]:
        import pyarrow

        try:
            yield
        except (pyarrow.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise WrongUse(f"{self.name} {problem}: {error}") from error


def pyarrow_or_fail() -> None:
    """Raise WrongUse if pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise WrongUse("Parquet needs pyarrow: pip install 'classwire[parquet]'") from error


def _is_text(kind: "pyarrow.DataType") -> bool:
    """Whether a type is text, dictionary-encoded or not, or that of a column of nulls alone."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind) in ("string", "large_string", "string_view", "null")


def _is_number(kind: "pyarrow.DataType") -> bool:
    from pyarrow import types

    return any(is_kind(kind) for is_kind in (types.is_integer, types.is_floating, types.is_boolean))


def _values(column: "pyarrow.Array") -> list[Any]:
    """The values of a column as Python objects. NaN, which JSON has not, becomes None."""
    import pyarrow
    from pyarrow import types

    try:
        found: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        broken = column.cast(pyarrow.binary()).to_pylist()
        return [
            each if each is None else each.decode("utf-8", "surrogateescape") for each in broken
        ]
    if types.is_floating(column.type):
        return [None if each is None or math.isnan(each) else each for each in found]
    return found
