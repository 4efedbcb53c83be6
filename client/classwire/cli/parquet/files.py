"""The Parquet files of a run, and the files of their results."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from classwire.cli.failures import WrongUse
from classwire.cli.outputs import OutputFile
from classwire.cli.row_options import STANDARD
from classwire.cli.rows import Columns, InputFile
from classwire.cli.rows.parquet import RowGroups

from .parts import other_files, parts_folder


@dataclass(frozen=True, slots=True)
class ScoredFile:
    """A file to score, and the file of its results."""

    source: Path
    output: Path
    columns: Columns
    begin_bytes: int = 0
    """Size of the files before it."""

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.source.stat().st_size

    @property
    def has_output(self) -> bool:
        """Whether an earlier run has left an output or parts of one."""
        return self.output.exists() or parts_folder(self.output).exists()

    def open(self) -> RowGroups:
        """Open it. Raises WrongUse if it is not Parquet or a column is wrong."""
        return RowGroups(self.source, self.columns, self.begin_bytes)


def files_of(source: InputFile, target: OutputFile) -> list[ScoredFile]:
    """Return the files of a folder, by name, or the one file.

    Names that begin with a dot or an underscore are those of no data, as everywhere in Parquet.
    Raises WrongUse if there are none, or if the options do not go with Parquet.
    """
    given, output, columns = source.path, target.path, source.columns
    if columns.key:
        raise WrongUse("--id-column is not for results in Parquet, which have all columns")
    if not given.is_dir():
        source.resolved_format()
        if output.is_dir():
            raise WrongUse(f"{output} is a folder")
        if not output.parent.is_dir():
            raise WrongUse(f"{output.parent}: no such folder")
        return [ScoredFile(given, output, columns)]
    if output == STANDARD or output.is_file():
        raise WrongUse(f"{given} is a folder, and so are its results: name one with --output")
    read, written = given.resolve(), output.resolve()
    if read.is_relative_to(written) or written.is_relative_to(read):
        raise WrongUse(f"{output} and {given} are the same folder, or one contains the other")
    files, begin_bytes = [], 0
    for path in sorted(given.rglob("*.parquet")):
        name = path.relative_to(given)
        if path.is_file() and not any(part.startswith((".", "_")) for part in name.parts):
            if replace(source, path=path).resolved_format() != "parquet":
                raise WrongUse(f"{given} is a folder: it can only be of Parquet files")
            files.append(ScoredFile(path, output / name, columns, begin_bytes))
            begin_bytes += path.stat().st_size
    if not files:
        raise WrongUse(f"{given} has no .parquet file")
    return files


def check_output(file: ScoredFile, target: OutputFile, names: Iterable[str]) -> None:
    """Raise WrongUse if the output is there and may not be, a name of `names` is taken, or the
    folder of the parts has a file of another program.
    """
    if file.output.exists() and file.output.samefile(file.source):
        raise WrongUse(f"{file.output} is the file to read")
    for path in other_files(file.output):
        raise WrongUse(f"{path} is none of the command's parts; move it to another folder")
    if file.has_output and not target.force and not target.resume:
        raise WrongUse(f"{file.output} exists; --resume continues it, --force overwrites it")
    with file.open() as groups:
        for name in names:
            if name in groups.schema.names:
                raise WrongUse(
                    f"{file.source} has a column {name!r} already; give those of the results other "
                    "names, such as --prefix predicted_"
                )
