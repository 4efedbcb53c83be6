"""`classwire classify`: texts from the command line, standard input or a file."""

from pathlib import Path
from typing import Any

import click

from .connection import Connection, connection_options
from .distribution import Distribution, distribution_option
from .failures import FAILED
from .output_options import OutputOptions, output_options
from .row_options import STANDARD, RowOptions, row_options
from .window_options import window_options


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
@window_options()
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
@click.option(
    "--tsv",
    "as_tsv",
    is_flag=True,
    help="Print one line for each text: label, score and text, separated by tabs.",
)
@click.option("--stages", is_flag=True, help="Show tokens, logits and scores.")
@row_options
@click.option("--pair-column", metavar="NAME", help="Column that holds the second text.")
@output_options
@distribution_option
@connection_options
def classify(
    *,
    connection: Connection,
    texts: tuple[str, ...],
    pair: str | None,
    as_json: bool,
    as_tsv: bool,
    stages: bool,
    rows: RowOptions,
    pair_column: str | None,
    results: OutputOptions,
    distribution: Path | None,
    **scoring: Any,
) -> None:
    """Score texts, and show the labels by score, highest first.

    Without TEXT, or with -, each line of standard input is a text. With --file each row of a file
    is a text. --file - or --format reads rows from standard input. Each result of a row contains
    "row", the number of its data row, counted from 0. With --id-column it also contains "id", the
    value of that column.

    --resume continues the --output of an interrupted run. It removes an incomplete last line, and
    does not classify again the rows that are already there. Use the same options as before.

    A --file of Parquet, with an --output of Parquet, keeps its columns and gets those of the
    results. A folder of such files gives a folder. Parquet needs pyarrow: pip install
    'classwire[parquet]'.

    If a text cannot be classified, the command prints the reason, goes on, and exits 1 at the end.
    """
    options = {"model": connection.model, **scoring}
    path = rows.path(texts)
    if as_tsv and (as_json or stages or results.output != STANDARD):
        raise click.UsageError("--tsv goes with neither --json, --stages nor --output.")
    if stages and options["include_windows"]:
        raise click.UsageError("--stages does not go with --windows.")
    if path is not None:
        if (texts and texts != ("-",)) or pair is not None or stages:
            raise click.UsageError("--file goes with neither TEXT, --pair nor --stages.")
        written = results.output_file(path, tabs=as_tsv, as_json=as_json)
        if distribution and (results.resume or scoring["min_score"] is not None):
            raise click.UsageError("--distribution goes with neither --resume nor --min-score.")
        from .files import classify_file

        counts = Distribution(distribution, path, results)
        source = rows.input_file(path, pair_column)
        errors = classify_file(connection, source, written, counts, **options)
        counts.write()
    else:
        if rows.need_a_file or results.need_a_file or pair_column or distribution:
            raise click.UsageError(
                "--format, --column, --pair-column, --id-column, --delimiter, --no-quotes, "
                "--output, --prefix, --force, --resume and --distribution go with --file."
            )
        if rows.encoding is not None and texts not in ((), ("-",)):
            raise click.UsageError("--encoding goes with --file or standard input.")
        from .texts import classify_texts

        errors = classify_texts(
            connection,
            texts,
            pair=pair,
            style="json" if as_json else "tsv" if as_tsv else "bars",
            stages=stages,
            encoding=rows.encoding,
            **options,
        )
    if errors:
        raise click.exceptions.Exit(FAILED)
