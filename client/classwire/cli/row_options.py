"""The options of commands that read rows from a file or from standard input."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from classwire.escaping import visible

if TYPE_CHECKING:
    from .rows import InputFile

STANDARD = Path("-")
"""Standard input as --file, or standard output as --output."""


@dataclass(frozen=True, slots=True)
class RowOptions:
    """Where rows come from, and how to read them."""

    source: Path | None
    format: str | None
    column: str | None
    id_column: str | None
    delimiter: str | None
    no_quotes: bool
    encoding: str | None

    @property
    def need_a_file(self) -> bool:
        """Whether an option is given that only a file of rows can have."""
        return any((self.format, self.column, self.id_column, self.delimiter, self.no_quotes))

    def check(self, path: Path | None) -> None:
        """Raise UsageError if there is no file, and an option is given that needs one."""
        if path is None and (self.need_a_file or self.encoding is not None):
            raise click.UsageError(
                "--format, --column, --id-column, --delimiter, --no-quotes and --encoding "
                "go with --file."
            )

    def path(self, texts: Sequence[str]) -> Path | None:
        """The file; standard input if --format is given, and neither a file nor a text.

        Prints a hint for a text that is the name of a file.
        """
        if self.source is None and (name := next(filter(os.path.isfile, texts), "")):
            hint = f"{visible(name)} is a file; read its rows with --file {visible(name)}"
            click.echo(f"classwire: {hint}", err=True)
        is_stdin = self.format is not None and texts in ((), ("-",))
        return STANDARD if self.source is None and is_stdin else self.source

    def chosen(self, texts: tuple[str, ...], what: str) -> tuple[tuple[str, ...], Path | None]:
        """The texts, or the file in their place.

        Raises UsageError unless there is one of them, and for an option that does not go with it.
        """
        path = self.path(texts)
        if texts == ("-",):
            if path is None:
                raise click.UsageError("- means rows of standard input: name their --format.")
            texts = ()
        if bool(texts) is (path is not None):
            raise click.UsageError(f"Give {what}, or a --file of them.")
        self.check(path)
        return texts, path

    def input_file(self, path: Path, pair_column: str | None = None) -> "InputFile":
        """The rows of `path`, read as these options say."""
        from .rows import Columns, InputFile

        columns = Columns(self.column or "", pair_column or "", self.id_column or "")
        quotes = not self.no_quotes
        return InputFile(path, columns, self.format, self.delimiter, quotes, self.encoding)


def row_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `RowOptions`; pass them as `rows`."""

    @click.option(
        "--file",
        "source",
        type=click.Path(exists=True, allow_dash=True, path_type=Path),
        help="Read every row of a .csv, .tsv, .jsonl, .ndjson or .txt file, also with .gz, or of a "
        ".parquet file.",
    )
    @click.option(
        "--format",
        type=click.Choice(["csv", "tsv", "jsonl", "txt", "parquet"]),
        help="Format of --file, or of rows on standard input.  [default: by the name of --file]",
    )
    @click.option("--column", metavar="NAME", help="Column of --file that holds the text.")
    @click.option("--id-column", metavar="NAME", help='Column to copy to the output, as "id".')
    @click.option(
        "--delimiter",
        metavar="CHARACTER",
        callback=_delimiter,
        help="Character between two fields.  [default: comma for csv, tab for tsv]",
    )
    @click.option(
        "--no-quotes", is_flag=True, help="Read quotes in csv and tsv as part of the text."
    )
    @click.option(
        "--encoding",
        metavar="NAME",
        help="Encoding of --file or standard input.  [default: UTF-8, or by its byte order mark]",
    )
    @functools.wraps(command)
    def with_rows(**options: Any) -> None:
        own = {each.name: options.pop(each.name) for each in fields(RowOptions)}
        command(rows=RowOptions(**own), **options)

    return with_rows


def _delimiter(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    character = "\t" if value == "\\t" else value
    if character is not None and (len(character) != 1 or character in '"\r\n'):
        raise click.BadParameter("it must be one character, and no quote or line end")
    return character
