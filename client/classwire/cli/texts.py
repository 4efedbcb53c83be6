"""`classwire classify` for texts of the command line and of standard input."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import click

from classwire import ClasswireError, Client, InvalidInputError, Outcome, TextInput

from .connection import Connection
from .failures import described
from .ordering import classify_rows
from .records import full_record, json_line, print_line, stages_record, tab_line
from .rendering import console, heading, print_lines, stage_lines
from .rows import Row, line_rows, standard_input
from .windows import classification_lines

Show = Callable[[Row, Outcome], None]
Style = Literal["bars", "json", "tsv"]


def classify_texts(
    connection: Connection,
    texts: tuple[str, ...],
    *,
    pair: str | None,
    style: Style,
    stages: bool,
    encoding: str | None,
    **options: Any,
) -> int:
    """Classify the texts, or the lines of standard input, and return how many failed."""
    from_stdin = texts in ((), ("-",))
    rows = _stdin_rows(encoding) if from_stdin else _argument_rows(texts)
    rows = (_with_pair(row, pair) for row in rows)
    several = from_stdin or len(texts) > 1
    if not from_stdin and options.get("priority") is None:
        options["priority"] = "interactive"
    patience_s = connection.item_timeout_s if from_stdin else None
    with connection.open(patience_s=patience_s) as client:
        if stages:
            return _classify_in_stages(client, rows, style == "json", several, **options)
        labels = client.model(options["model"]).labels if options["include_windows"] else ()
        records: dict[str, Show] = {"json": _show_json, "tsv": _show_tabs}
        record = records.get(style)
        show = record or _ScorePrinter(several, labels)
        if several:
            if style == "tsv":
                show = _complaining(_show_tabs)
            options["item_timeout_s"] = connection.item_timeout_s
            return classify_rows(client, rows, show, **options)
        return _classify_one(client, next(rows), show, record, **options)


def _classify_one(client: Client, row: Row, show: Show, record: Show | None, **options: Any) -> int:
    """Classify a single text by a unary call. A wrong text is a wrong use of the command."""
    try:
        if isinstance(row.content, ClasswireError):
            raise row.content
        show(row, client.classify(row.content, **options))
    except InvalidInputError as error:
        if record:
            record(row, error)
        raise
    return 0


def _classify_in_stages(
    client: Client, rows: Iterator[Row], as_json: bool, several: bool, **options: Any
) -> int:
    labels = client.model(options["model"]).labels
    errors = 0
    out = console()
    for row in rows:
        try:
            if isinstance(row.content, ClasswireError):
                raise row.content
            result = client.classify(
                row.content, include_logits=True, include_tokens=True, **options
            )
            seen = client.tokenize(
                row.content, model=options["model"], truncation=options["truncation"]
            )
        except InvalidInputError as error:
            if (error.field or "").startswith("options"):
                raise  # wrong for every text
            if as_json:
                _show_json(row, error)
            if not several:
                raise
            if not as_json:
                _complain(row, error)
            errors += 1
            continue
        if as_json:
            stages = stages_record(result, seen.attention_mask, labels)
            print_line(json_line(full_record(row.content, result) | {"stages": stages}))
            continue
        if several:
            print_lines(out, [heading(_heading(row), out.width)])
        print_lines(out, stage_lines(result, seen.attention_mask, labels, out.width))
        if several:
            out.print()
    return errors


class _ScorePrinter:
    """Prints scores as bars, under the text when there are several.

    It needs the model's labels for windows.
    """

    def __init__(self, several: bool, labels: Sequence[str]) -> None:
        self._several = several
        self._labels = labels
        self._console = console()

    def __call__(self, row: Row, outcome: Outcome) -> None:
        if isinstance(outcome, ClasswireError):
            _complain(row, outcome)
            return
        out = self._console
        indent = 2 if self._several else 0
        if self._several:
            print_lines(out, [heading(_heading(row), out.width)])
        text = row.content if isinstance(row.content, TextInput) else TextInput("")
        lines = classification_lines(outcome, text, self._labels, out.width - indent)
        print_lines(out, lines, indent)
        if outcome.truncated_tokens:
            out.print(f"{' ' * indent}({outcome.truncated_tokens} tokens cut off)", style="dim")
        sys.stdout.flush()


def _show_json(row: Row, outcome: Outcome) -> None:
    print_line(json_line(full_record(row.content, outcome)))


def _show_tabs(row: Row, outcome: Outcome) -> None:
    print_line(tab_line(row, outcome))


def _complaining(show: Show) -> Show:
    def show_and_complain(row: Row, outcome: Outcome) -> None:
        show(row, outcome)
        if isinstance(outcome, ClasswireError):
            _complain(row, outcome)

    return show_and_complain


def _complain(row: Row, error: ClasswireError) -> None:
    click.echo(f"classwire: {described(error, f'text {row.index + 1}')}", err=True)


def _heading(row: Row) -> str:
    return row.content.text if isinstance(row.content, TextInput) else ""


def _with_pair(row: Row, pair: str | None) -> Row:
    if pair is None or not isinstance(row.content, TextInput):
        return row
    return replace(row, content=TextInput(row.content.text, pair))


def _argument_rows(texts: tuple[str, ...]) -> Iterator[Row]:
    return (Row(index, None, TextInput(text)) for index, text in enumerate(texts))


def _stdin_rows(encoding: str | None) -> Iterator[Row]:
    read = standard_input()
    if sys.stdin.isatty():
        click.echo("Enter one text per line; Ctrl-D ends.", err=True)
    return line_rows(read, "standard input", encoding)
