"""How many rows of a file got which label, for a server's --reference-distribution."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from classwire import ClasswireError

from .failures import WrongUse
from .output_options import OutputOptions

if TYPE_CHECKING:
    from .outputs import Scored
    from .rows import Row
    from .scoring import EmitScored

distribution_option = click.option(
    "--distribution",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file how many rows of --file got which highest label, for a server's "
    "--reference-distribution.",
)


class Distribution:
    """Counts rows by their highest label, and writes the counts to `path`; None for no file.

    Raises WrongUse if its folder is missing, if it is `source` or the file of `results`, or if it
    exists, unless `results.force` is true.
    """

    def __init__(self, path: Path | None, source: Path, results: OutputOptions) -> None:
        self._path = path
        self._labels: Counter[str] = Counter()
        if path is None:
            return
        if not path.parent.is_dir():
            raise WrongUse(f"{path.parent}: no such folder")
        if path.resolve() in (source.resolve(), results.output.resolve()):
            raise WrongUse(f"{path} is the --file or the --output; name another --distribution")
        if path.exists() and not results.force:
            raise WrongUse(f"{path} exists; --force overwrites it")

    def counting(self, emit: "EmitScored") -> "EmitScored":
        """Return a function that counts each outcome and calls `emit`."""

        def counted(row: "Row", outcome: "Scored") -> None:
            if not isinstance(outcome, ClasswireError) and outcome.label is not None:
                self._labels[outcome.label] += 1
            emit(row, outcome)

        return counted

    def write(self) -> None:
        """Write the file, the most frequent label first."""
        if self._path is not None:
            counts = json.dumps(dict(self._labels.most_common()), ensure_ascii=False, indent=1)
            self._path.write_text(counts + "\n", encoding="utf-8")
