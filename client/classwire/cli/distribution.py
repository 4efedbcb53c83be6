"""How many rows of a file got which label, for a server's --reference-distribution."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from classwire import ClasswireError

from .failures import WrongUse
from .output_options import OutputOptions

if TYPE_CHECKING:
    from .outputs import Scored

Row = TypeVar("Row")

distribution_option = click.option(
    "--distribution",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file how many rows of --file got which highest label, for a server's "
    "--reference-distribution.",
)


class Distribution:
    """Counts rows by their highest label, and writes the counts to `path`; None for no file.

    Raises WrongUse if the file exists, unless `results.force` is true.
    """

    def __init__(self, path: Path | None, results: OutputOptions) -> None:
        self._path = path
        self._rows: Counter[str] = Counter()
        if path is not None and path.exists() and not results.force:
            raise WrongUse(f"{path} exists; --force overwrites it")

    def counting(self, emit: "Callable[[Row, Scored], None]") -> "Callable[[Row, Scored], None]":
        """Return a function that counts each outcome and calls `emit`."""

        def counted(row: Row, outcome: "Scored") -> None:
            if not isinstance(outcome, ClasswireError) and outcome.label is not None:
                self._rows[outcome.label] += 1
            emit(row, outcome)

        return counted

    def write(self) -> None:
        """Write the file, the most frequent label first."""
        if self._path is not None:
            counts = json.dumps(dict(self._rows.most_common()), ensure_ascii=False, indent=1)
            self._path.write_text(counts + "\n", encoding="utf-8")
