"""The formats of a file's results: JSON Lines, tables of CSV and TSV, and plain lines for pipes."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from classwire import Classification, ClasswireError, Model, ZeroShotClassification

from .failures import Failure, WrongUse
from .records import json_line, outcome_record, shortest, tab_line
from .row_options import STANDARD
from .rows import MAX_LINE_BYTES, Columns, InputFile, Row

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")

Scored: TypeAlias = Classification | ZeroShotClassification | ClasswireError


class Format(Protocol):
    """How results are written."""

    def head(self, model: Model) -> bytes:
        """Return what comes before all results."""

    def result(self, row: Row, outcome: Scored) -> bytes:
        """Return the result of one row, with its line end."""


@dataclass(frozen=True, slots=True)
class OutputFile:
    """Where results go."""

    path: Path = STANDARD
    force: bool = False
    resume: bool = False
    tabs: bool = False
    """Whether the results are lines of label, score and text."""
    prefix: str = ""
    """What the names of the columns of results in Parquet begin with."""

    def is_parquet(self, source: InputFile) -> bool:
        """Whether the results are files of Parquet, as those of a folder are.

        Raises WrongUse if the input is not Parquet too.
        """
        if source.path.is_dir():
            return True
        if self.path.suffix.lower() != ".parquet":
            return False
        if source.resolved_format() != "parquet":
            raise WrongUse(f"{self.path}: results in Parquet need a --file in Parquet")
        return True

    def format(self, columns: Columns, *, only_best: bool, labels: tuple[str, ...] = ()) -> Format:
        """Return the format that the name of the file stands for. WrongUse for an unknown one.

        A table has columns for `labels`, else for those of the model, and with `only_best` for
        none.
        """
        if self.prefix:
            raise WrongUse("--prefix is for results in Parquet")
        if self.tabs:
            return TabbedLines()
        if self.path.is_dir():
            raise WrongUse(f"{self.path} is a folder")
        suffix = self.path.suffix.lower()
        if suffix in DELIMITERS:
            return Table(DELIMITERS[suffix], columns, labels, only_best=only_best)
        special = self.path.exists() and not self.path.is_file()  # such as /dev/null
        if suffix in JSON_LINES or self.path == STANDARD or special:
            return JsonLines(columns)
        if suffix == ".gz":
            raise WrongUse(f"{self.path}: results are not compressed; pipe them through gzip")
        known = ", ".join((*DELIMITERS, *JSON_LINES, ".parquet"))
        raise WrongUse(f"{self.path}: unknown format of results; known suffixes are {known}")


class TabbedLines:
    """Label, score and text of each row, separated by tabs, without a header."""

    def head(self, model: Model) -> bytes:
        """Return nothing."""
        return b""

    def result(self, row: Row, outcome: Scored) -> bytes:
        """Return one line."""
        return tab_line(row, outcome)


class JsonLines:
    """One JSON object for each row. Its first fields name the row."""

    fixed_head = b""
    """What every output of these columns begins with."""

    def __init__(self, columns: Columns) -> None:
        self._has_ids = bool(columns.key)

    def head(self, model: Model) -> bytes:
        """Return nothing."""
        return b""

    def start(self, row: Row) -> bytes:
        """Return the bytes that the result of a row begins with."""
        return json_line(self._identity(row))[:-2] + b", "

    def result(self, row: Row, outcome: Scored) -> bytes:
        """Return one line."""
        return json_line(self._identity(row) | outcome_record(outcome))

    def results(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the results in a file; the last may be incomplete."""
        while line := file.readline(MAX_LINE_BYTES):
            yield line

    def failed(self, result: bytes) -> bool | None:
        """Whether a complete result is an error; None if other options wrote it."""
        try:
            record = json.loads(result)
        except (ValueError, RecursionError):
            return None
        if ("id" in record) is not self._has_ids or not record.keys() & {"scores", "error"}:
            return None
        return "error" in record

    def _identity(self, row: Row) -> dict[str, object]:
        return {"row": row.index} | ({"id": row.key} if self._has_ids else {})


class Table:
    """CSV or TSV with a header: row, id, best label and score, error, and each label's score."""

    def __init__(
        self, delimiter: str, columns: Columns, labels: tuple[str, ...], *, only_best: bool
    ) -> None:
        self._delimiter = delimiter
        self._has_ids = bool(columns.key)
        self._only_best = only_best
        names = ["row", *(["id"] if self._has_ids else [])]
        self._reason_column = len(names) + 2
        self._names = [*names, "label", "score", "error_reason", "error_message"]
        self._labels = () if only_best else labels
        self.fixed_head = self._line(self._names)[:-1]
        """What every output of these columns begins with."""

    def head(self, model: Model) -> bytes:
        """Return the header for this model's labels.

        Raises Failure if the labels are not known yet, WrongUse if two have the same name.
        """
        if not self._only_best and not self._labels:
            self._labels = model.labels
            if not model.labels:
                raise Failure(
                    f"the labels of {model.name} are not known yet, since it is {model.state}; "
                    "wait with `classwire health --wait-s 60`"
                )
            if len(set(model.labels)) < len(model.labels):
                raise WrongUse(f"labels of {model.name} have the same name: write .jsonl instead")
        return self._line([*self._names, *(f"score_{label}" for label in self._labels)])

    def start(self, row: Row) -> bytes:
        """Return the bytes that the result of a row begins with."""
        return self._line(self._identity(row))[:-1] + self._delimiter.encode()

    def result(self, row: Row, outcome: Scored) -> bytes:
        """Return one row of the table. Raises Failure for a label that the header has not."""
        if isinstance(outcome, ClasswireError):
            failure = [None, None, outcome.reason or outcome.code.name, outcome.message]
            return self._line([*self._identity(row), *failure, *(None for _ in self._labels)])
        scores = {each.label: shortest(each.score) for each in outcome.scores}
        best = next(iter(scores.items()), (None, None))
        if not self._only_best and not scores.keys() <= set(self._labels):
            raise Failure("the model's labels changed during the run; its table cannot go on")
        by_label = map(scores.get, self._labels)
        return self._line([*self._identity(row), *best, None, None, *by_label])

    def results(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield the header and the results in a file; the last may be incomplete."""
        lines: list[bytes] = []
        size_bytes = quotes = 0
        while line := file.readline(MAX_LINE_BYTES):
            lines.append(line)
            quotes += line.count(b'"')
            size_bytes += len(line)
            # Within quotes a quote stands twice, so a row has an even number of them.
            complete = line.endswith(b"\n") and quotes % 2 == 0
            if complete or size_bytes > MAX_LINE_BYTES:
                yield b"".join(lines)
                lines, size_bytes, quotes = [], 0, 0
        if lines:  # A line end within quotes does not complete the last one.
            yield b"".join(lines).removesuffix(b"\n")

    def failed(self, result: bytes) -> bool | None:
        """Whether a complete result is an error; None if it is no row of this table."""
        try:
            (values,) = csv.reader([result.decode()], delimiter=self._delimiter, strict=True)
        except (ValueError, csv.Error):
            return None
        return values[self._reason_column] != "" if len(values) >= len(self._names) else None

    def _identity(self, row: Row) -> list[object]:
        if not self._has_ids:
            return [row.index]
        key = row.key
        return [row.index, key if key is None or isinstance(key, str) else json.dumps(key)]

    def _line(self, values: list[object] | list[str]) -> bytes:
        text = io.StringIO()
        # This line end makes Python quote both of its characters in a value.
        csv.writer(text, delimiter=self._delimiter, lineterminator="\r\n").writerow(values)
        line = text.getvalue().removesuffix("\r\n") + "\n"
        return line.encode("utf-8", "backslashreplace")
