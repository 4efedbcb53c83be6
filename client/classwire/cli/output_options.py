"""The options of commands that write the results of a file of rows."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .row_options import STANDARD

if TYPE_CHECKING:
    from .outputs import OutputFile


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where the results of a file go."""

    output: Path
    force: bool
    resume: bool
    prefix: str

    @property
    def need_a_file(self) -> bool:
        """Whether an option is given that only a file of rows can have."""
        return self.force or self.resume or bool(self.prefix) or self.output != STANDARD

    def output_file(
        self, source: Path, *, tabs: bool = False, as_json: bool = False
    ) -> "OutputFile":
        """The output for the rows of `source`. On standard output it is JSON lines, or tabs.

        Raises UsageError if it cannot be resumed, and for --json with --output.
        """
        if as_json and self.output != STANDARD:
            raise click.UsageError("--json does not go with --output, whose name says the format.")
        if self.resume and (self.force or STANDARD in (self.output, source)):
            raise click.UsageError(
                "--resume needs a --file and an --output, and does not go with --force."
            )
        from .outputs import OutputFile

        return OutputFile(self.output, self.force, self.resume, tabs, self.prefix)


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of `OutputOptions`; pass them as `results`."""

    @click.option(
        "--output",
        type=click.Path(allow_dash=True, path_type=Path),
        default=STANDARD,
        help="File for the results of --file: .jsonl, .ndjson, .csv or .tsv, or .parquet if --file "
        "is Parquet; a folder if --file is one.  [default: JSON lines on standard output]",
    )
    @click.option(
        "--prefix",
        metavar="TEXT",
        default="",
        help="Begin the names of the columns of results in Parquet with TEXT.",
    )
    @click.option("--force", is_flag=True, help="Overwrite --output if it exists.")
    @click.option("--resume", is_flag=True, help="Continue the --output of an interrupted run.")
    @functools.wraps(command)
    def with_output(**options: Any) -> None:
        own = {each.name: options.pop(each.name) for each in fields(OutputOptions)}
        command(results=OutputOptions(**own), **options)

    return with_output
