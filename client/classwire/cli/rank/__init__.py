"""`classwire rank`: documents in the order of their scores for a query."""

from typing import Any

import click

from classwire.cli.connection import Connection, connection_options
from classwire.cli.failures import FAILED
from classwire.cli.row_options import RowOptions, row_options
from classwire.cli.window_options import window_options


@click.command()
@click.argument("query")
@click.argument("documents", nargs=-1, metavar="[DOCUMENT]...")
@row_options
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    help="Show only this many documents.  [default: all]",
)
@click.option("--min-score", type=float, help="Show only documents with at least this score.")
@click.option(
    "--label",
    metavar="NAME",
    help="Label whose score ranks.  [default: the only one]",
)
@click.option(
    "--activation",
    type=click.Choice(["softmax", "sigmoid", "identity"]),
    help="Function from logits to scores.  [default: the model's]",
)
@window_options("document")
@click.option(
    "--priority",
    type=click.Choice(["interactive", "bulk"]),
    help="Interactive texts run before bulk texts.  "
    "[default: interactive for DOCUMENT, bulk for files]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each document.")
@connection_options
def rank(
    *,
    connection: Connection,
    query: str,
    documents: tuple[str, ...],
    rows: RowOptions,
    as_json: bool,
    **options: Any,
) -> None:
    """Score documents for QUERY, and show them by score, highest first.

    With --file each row of a file is a document, and there may be any number of them: the command
    ranks them in several calls, and shows all together at the end. A call that fails ends the
    command. "index" is the document's place, counted from 0.

    If a document cannot be scored, the command prints the reason, goes on, and exits 1 at the end.
    """
    documents, path = rows.chosen(documents, "documents")
    from .ranking import Documents, rank_documents

    given = Documents(documents, None if path is None else rows.input_file(path))
    if rank_documents(connection, query, given, as_json=as_json, **options):
        raise click.exceptions.Exit(FAILED)
