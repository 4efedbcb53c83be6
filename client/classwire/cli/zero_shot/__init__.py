"""`classwire zero-shot`: texts by labels that the caller makes up."""

from typing import Any

import click

from classwire.cli.connection import Connection, connection_options
from classwire.cli.failures import FAILED
from classwire.cli.output_options import OutputOptions, output_options
from classwire.cli.row_options import RowOptions, row_options
from classwire.cli.window_options import window_options


@click.command("zero-shot")
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option(
    "--label",
    "labels",
    metavar="LABEL",
    multiple=True,
    required=True,
    help="Candidate label; give one or more.",
)
@click.option(
    "--hypothesis-template",
    metavar="TEMPLATE",
    help='Sentence with one {} for the label.  [default: "This example is {}."]',
)
@click.option(
    "--multi-label",
    is_flag=True,
    help="Score each label for itself: any number of them may fit.",
)
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    help="Show only this many labels.  [default: all]",
)
@click.option("--min-score", type=float, help="Show only labels with at least this score.")
@window_options()
@click.option(
    "--priority",
    type=click.Choice(["interactive", "bulk"]),
    help="Interactive texts run before bulk texts.  "
    "[default: interactive for TEXT, bulk for files]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each text.")
@row_options
@output_options
@connection_options
def zero_shot(
    *,
    connection: Connection,
    texts: tuple[str, ...],
    labels: tuple[str, ...],
    as_json: bool,
    rows: RowOptions,
    results: OutputOptions,
    priority: str | None,
    **scoring: Any,
) -> None:
    """Score the labels of --label for each TEXT, highest first.

    The model must be one of natural language inference, with an entailment label. With --file each
    row of a file is a text; each output line contains "row", the number of its data row, counted
    from 0, and with --id-column "id". --resume continues the --output of an interrupted run, as
    that of `classwire classify` does.

    If a text cannot be classified, the command prints the reason, goes on, and exits 1 at the end.
    """
    texts, path = rows.chosen(texts, "texts")
    if path is None and results.need_a_file:
        raise click.UsageError("--output, --prefix, --force and --resume go with --file.")
    from .candidates import Candidates, zero_shot_file, zero_shot_texts

    priority = priority or ("interactive" if path is None else "bulk")
    candidates = Candidates(labels, {"model": connection.model, "priority": priority, **scoring})
    if path is None:
        errors = zero_shot_texts(connection, texts, candidates, as_json=as_json)
    else:
        written = results.output_file(path, as_json=as_json)
        errors = zero_shot_file(connection, rows.input_file(path), written, candidates)
    if errors:
        raise click.exceptions.Exit(FAILED)
