"""`classwire classify`: texts from the command line, standard input or a file."""

from pathlib import Path
from typing import Any

import click

from .connection import Connection, connection_options
from .failures import FAILED
from .window_options import TRUNCATIONS, window_options


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--pair", metavar="TEXT", help="Second text, classified together with each text.")
@click.option(
    "--top-k",
    type=click.IntRange(min=1),
    help="Show only this many labels.  [default: all]",
)
@click.option("--min-score", type=float, help="Show only labels with at least this score.")
@click.option(
    "--activation",
    type=click.Choice(["softmax", "sigmoid", "identity"]),
    help="Function from logits to scores.  [default: the model's]",
)
@click.option(
    "--truncation",
    type=click.Choice(TRUNCATIONS),
    help="How to treat a text with too many tokens.  [default: the server's setting]",
)
@window_options
@click.option(
    "--windows",
    "include_windows",
    is_flag=True,
    help="Show each window of a long text with its scores.",
)
@click.option(
    "--priority",
    type=click.Choice(["interactive", "bulk"]),
    help="Interactive texts run before bulk texts.  "
    "[default: interactive for TEXT, bulk for lines and files]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each text.")
@click.option("--stages", is_flag=True, help="Show tokens, logits and scores.")
@click.option(
    "--file",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Classify every row of a .csv, .jsonl or .txt file.",
)
@click.option("--column", metavar="NAME", help="Column of --file that holds the text.")
@click.option("--pair-column", metavar="NAME", help="Column that holds the second text.")
@click.option("--id-column", metavar="NAME", help='Column to copy to the output, as "id".')
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    help="File for the results of --file, as JSON lines.  [default: standard output]",
)
@click.option("--force", is_flag=True, help="Overwrite --output if it exists.")
@click.option("--resume", is_flag=True, help="Continue the --output of an interrupted run.")
@connection_options
def classify(
    *,
    connection: Connection,
    texts: tuple[str, ...],
    pair: str | None,
    as_json: bool,
    stages: bool,
    source: Path | None,
    column: str | None,
    pair_column: str | None,
    id_column: str | None,
    output: Path,
    force: bool,
    resume: bool,
    **scoring: Any,
) -> None:
    """Score texts, and show the labels by score, highest first.

    Without TEXT, or with -, each line of standard input is a text. With --file each row of a file
    is a text. Each output line of --file contains "row", the number of its data row, counted from
    0. With --id-column it also contains "id", the value of that column.

    --resume continues the --output of an interrupted run. It removes an incomplete last line, and
    does not classify again the rows that are already there. Use the same options as before.

    If a text cannot be classified, the command prints the reason, goes on, and exits 1 at the end.
    """
    options = {"model": connection.model, **scoring}
    if stages and options["include_windows"]:
        raise click.UsageError("--stages does not go with --windows.")
    if source is not None:
        if texts or pair is not None or stages:
            raise click.UsageError("--file goes with neither TEXT, --pair nor --stages.")
        if resume and (force or output == Path("-")):
            raise click.UsageError("--resume needs an --output, and does not go with --force.")
        from .files import OutputFile, classify_file
        from .rows import Columns

        columns = Columns(column or "", pair_column or "", id_column or "")
        target = OutputFile(output, force, resume)
        errors = classify_file(connection, source, columns, target, **options)
    else:
        if column or pair_column or id_column or force or resume or output != Path("-"):
            raise click.UsageError(
                "--column, --pair-column, --id-column, --output, --force and --resume "
                "go with --file."
            )
        from .texts import classify_texts

        errors = classify_texts(
            connection, texts, pair=pair, as_json=as_json, stages=stages, **options
        )
    if errors:
        raise click.exceptions.Exit(FAILED)
