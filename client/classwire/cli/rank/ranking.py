"""The work of `classwire rank`: calls for parts of the documents, merged by score."""

import heapq
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import click
from rich.cells import set_cell_size
from rich.text import Text

from classwire import (
    ClasswireError,
    Client,
    InvalidInputError,
    RankedDocument,
    Reason,
    TextInput,
)
from classwire._calls.concurrent import mapped
from classwire._calls.requests import batches
from classwire.cli.connection import Connection
from classwire.cli.failures import described, terminating
from classwire.cli.progress import FileProgress
from classwire.cli.records import error_record, json_line, shortest
from classwire.cli.rendering import bar, console, fitted, print_lines
from classwire.cli.resumption import Written
from classwire.cli.row_options import STANDARD
from classwire.cli.rows import InputFile, Row, open_rows
from classwire.cli.waiting import on_wait

_BAR_WIDTH = 16
_DOCUMENTS_PER_CALL = 64
"""As long as the model's limit is not known, since it is loading."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Where the documents come from: arguments, or the rows of a file."""

    arguments: tuple[str, ...]
    source: InputFile | None

    @property
    def has_ids(self) -> bool:
        """Whether a column names them."""
        return self.source is not None and bool(self.source.columns.key)

    @contextmanager
    def rows(self) -> Iterator[Iterator[Row]]:
        """Open them. Raises WrongUse if the file or a column is wrong."""
        if self.source is None:
            yield (Row(index, None, TextInput(text)) for index, text in enumerate(self.arguments))
            return
        with open_rows(self.source) as rows:
            yield rows


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document with its score."""

    row: Row
    result: RankedDocument

    @property
    def order(self) -> tuple[float, int]:
        """Sorts the highest score first, and equal ones in the order of the documents."""
        return -self.result.score, self.row.index


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to the documents of one call."""

    rows: Sequence[Row]
    scored: Sequence[ScoredDocument]
    errors: dict[int, ClasswireError]
    """By the row's index."""


def rank_documents(
    connection: Connection,
    query: str,
    documents: Documents,
    *,
    as_json: bool,
    top_k: int | None,
    priority: str | None,
    **options: Any,
) -> int:
    """Rank the documents, show them, and return how many failed."""
    options |= {"top_k": top_k, "model": connection.model}
    options["priority"] = priority or ("bulk" if documents.source else "interactive")
    best: list[ScoredDocument] = []
    failures: list[tuple[Row, ClasswireError]] = []
    patience_s = connection.item_timeout_s if documents.source else None
    with (
        terminating(),
        documents.rows() as rows,
        connection.open(patience_s=patience_s) as client,
    ):
        limits = client.model(connection.model).limits
        most = limits.max_texts_per_call if limits else _DOCUMENTS_PER_CALL
        source = documents.source
        progress = (
            FileProgress(source.path, source.size_bytes, STANDARD, Written())
            if source
            else nullcontext()
        )
        with progress as shown, on_wait(shown.wait) if shown else nullcontext():
            for part in mapped(_rank(client, query, options), batches(rows, most, _size_bytes)):
                best += part.scored
                if top_k is not None:
                    best = heapq.nsmallest(top_k, best, key=lambda each: each.order)
                for row in part.rows:
                    error = part.errors.get(row.index)
                    if error is not None:
                        failures.append((row, error))
                    if shown is not None:
                        shown.advance(row, error)
    best.sort(key=lambda each: each.order)
    if as_json:
        _write_json(best, failures, with_ids=documents.has_ids)
    else:
        out = console()
        print_lines(out, _lines(best, out.width, with_ids=documents.has_ids))
        for row, error in failures:
            place = f"row {row.index}" if documents.source else f"document {row.index + 1}"
            click.echo(f"classwire: {described(error, place)}", err=True)
    return len(failures)


def _rank(client: Client, query: str, options: dict[str, Any]) -> Callable[[Sequence[Row]], Part]:
    """A function that ranks documents, in more calls if they have too many windows for one."""

    def rank(rows: Sequence[Row]) -> Part:
        good = [row for row in rows if isinstance(row.content, TextInput)]
        try:
            ranking = client.rank(query, map(_text, good), **options)
        except InvalidInputError as error:
            if error.reason != Reason.TOO_MANY_ITEMS or len(good) < 2:
                raise
            half = len(rows) // 2
            first, second = rank(rows[:half]), rank(rows[half:])
            return Part(rows, [*first.scored, *second.scored], first.errors | second.errors)
        errors = {row.index: row.content for row in rows if isinstance(row.content, ClasswireError)}
        errors |= {good[failed.index].index: failed.error for failed in ranking.failures}
        scored = [ScoredDocument(good[result.index], result) for result in ranking.results]
        return Part(rows, scored, dict(sorted(errors.items())))

    return rank


def _text(row: Row) -> str:
    return row.content.text if isinstance(row.content, TextInput) else ""


def _size_bytes(row: Row) -> int:
    return len(_text(row).encode("utf-8", "surrogatepass"))


def _lines(best: Sequence[ScoredDocument], width: int, *, with_ids: bool) -> Iterator[Text]:
    """A line for each document: rank, score, bar, id and how it begins."""
    if not best:
        yield Text("(no document reaches the minimum score)", style="dim")
        return
    full = max([1.0, *(abs(each.result.score) for each in best)])
    rank_width = len(str(len(best)))
    numbers = [f"{each.result.score:.4f}" for each in best]
    number_width = max(map(len, numbers), default=0)
    for rank, (each, number) in enumerate(zip(best, numbers, strict=True), start=1):
        shown = " ".join(_text(each.row).split())
        if with_ids:
            shown = f"{each.row.key}  {shown}"
        line = Text.assemble(
            (str(rank).rjust(rank_width), "dim"),
            "  ",
            number.rjust(number_width),
            "  ",
            (set_cell_size(bar(each.result.score / full, _BAR_WIDTH), _BAR_WIDTH), "cyan"),
            "  ",
        )
        yield line.append(fitted(shown, max(width - line.cell_len, 12)))


def _write_json(
    best: Sequence[ScoredDocument],
    failures: Sequence[tuple[Row, ClasswireError]],
    *,
    with_ids: bool,
) -> None:
    out = sys.stdout.buffer
    for rank, each in enumerate(best, start=1):
        record: dict[str, Any] = {"rank": rank, "index": each.row.index}
        if with_ids:
            record["id"] = each.row.key
        record |= {
            "score": shortest(each.result.score),
            "token_count": each.result.token_count,
            "truncated_tokens": each.result.truncated_tokens,
            "window_count": each.result.window_count,
            "document": _text(each.row),
        }
        out.write(json_line(record))
    for row, error in failures:
        record = {"index": row.index, **({"id": row.key} if with_ids else {})}
        out.write(json_line(record | {"error": error_record(error)}))
    out.flush()
