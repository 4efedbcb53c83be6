"""The work of `classwire zero-shot`: candidate labels for texts and files."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from classwire import (
    ClasswireError,
    Client,
    InternalError,
    InvalidInputError,
    Reason,
    TextInput,
    ZeroShotClassification,
)
from classwire._calls.concurrent import mapped
from classwire.cli.connection import Connection
from classwire.cli.failures import WrongUse, described
from classwire.cli.files import score_file
from classwire.cli.outputs import OutputFile
from classwire.cli.records import full_record, json_line, print_line
from classwire.cli.rendering import console, heading, print_lines, score_lines
from classwire.cli.rows import InputFile, Row
from classwire.cli.scoring import EmitScored, Scoring

_OF_THE_TEXT = (Reason.TOO_MANY_TOKENS, Reason.TOO_MANY_ITEMS)
"""Reasons that are about the text, whatever field they name: a long text has many windows."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The labels, and the options of all calls."""

    labels: tuple[str, ...]
    options: dict[str, Any]

    def check(self, client: Client) -> None:
        """Raise WrongUse if there are more labels than a call takes, UnknownModelError for an
        unknown model.
        """
        limits = client.model(self.options["model"]).limits
        if limits is not None and len(self.labels) > limits.max_texts_per_call:
            most = limits.max_texts_per_call
            raise WrongUse(f"{len(self.labels)} labels, and the server's limit is {most}")

    def outcome(
        self, client: Client, content: TextInput | ClasswireError
    ) -> ZeroShotClassification | ClasswireError:
        """Score the labels for a text. Raises an error that is not about this text."""
        if isinstance(content, ClasswireError):
            return content
        try:
            return client.zero_shot(content.text, self.labels, **self.options)
        except InvalidInputError as error:
            if error.field != "text" and error.reason not in _OF_THE_TEXT:
                raise
            return error
        except InternalError as error:
            if error.reason is None:
                raise
            return error


def zero_shot_texts(
    connection: Connection, texts: tuple[str, ...], candidates: Candidates, *, as_json: bool
) -> int:
    """Score and show the labels for each text, and return how many texts failed."""
    out = console()
    errors = 0
    with connection.open() as client:
        for number, text in enumerate(texts, start=1):
            outcome = candidates.outcome(client, TextInput(text))
            if as_json:
                print_line(json_line(full_record(TextInput(text), outcome)))
            if isinstance(outcome, ClasswireError):
                if len(texts) == 1:
                    raise outcome
                if not as_json:
                    click.echo(f"classwire: {described(outcome, f'text {number}')}", err=True)
                errors += 1
            elif not as_json:
                indent = 2 if len(texts) > 1 else 0
                if indent:
                    print_lines(out, [heading(text, out.width)])
                lines = score_lines(outcome.scores, "softmax", out.width - indent)
                print_lines(out, lines, indent)
                if outcome.window_count > 1:
                    out.print(f"{' ' * indent}({outcome.window_count} windows)", style="dim")
                if outcome.truncated_tokens:
                    cut = f"{' ' * indent}({outcome.truncated_tokens} tokens cut off)"
                    out.print(cut, style="dim")
    return errors


def zero_shot_file(
    connection: Connection, source: InputFile, target: OutputFile, candidates: Candidates
) -> int:
    """Score the labels for every row of a file, and return how many rows failed."""

    def run(client: Client, rows: Iterator[Row], emit: EmitScored) -> int:
        candidates.check(client)
        errors = 0
        for row, outcome in mapped(
            lambda row: (row, candidates.outcome(client, row.content)), rows
        ):
            emit(row, outcome)
            errors += isinstance(outcome, ClasswireError)
        return errors

    scoring = Scoring(run, candidates.options, candidates.labels)
    return score_file(connection, source, target, scoring)
