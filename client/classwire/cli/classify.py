"""`classwire classify`: texts from the command line, standard input or a file."""

from pathlib import Path
from typing import Any

import click

from .connection import Connection, connection_options
from .failures import FAILED

_STANDARD = Path("-")
"""Standard input as --file, or standard output as --output."""


def _delimiter(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    character = "\t" if value == "\\t" else value
    if character is not None and (len(character) != 1 or character in '"\r\n'):
        raise click.BadParameter("it must be one character, and no quote or line end")
    return character


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
    type=click.Choice(["reject", "drop_end", "drop_start"]),
    help="How to treat a text with too many tokens.  [default: the server's setting]",
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
@click.option(
    "--file",
    "source",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Classify every row of a .csv, .tsv, .jsonl, .ndjson or .txt file, also with .gz.",
)
@click.option(
    "--format",
    type=click.Choice(["csv", "tsv", "jsonl", "txt"]),
    help="Format of --file, or of rows on standard input.  [default: by the name of --file]",
)
@click.option("--column", metavar="NAME", help="Column of --file that holds the text.")
@click.option("--pair-column", metavar="NAME", help="Column that holds the second text.")
@click.option("--id-column", metavar="NAME", help='Column to copy to the output, as "id".')
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    callback=_delimiter,
    help="Character between two fields.  [default: comma for csv, tab for tsv]",
)
@click.option("--no-quotes", is_flag=True, help="Read quotes in csv and tsv as part of the text.")
@click.option(
    "--encoding",
    metavar="NAME",
    help="Encoding of --file or standard input.  [default: UTF-8, or by its byte order mark]",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    default=Path("-"),
    help="File for the results of --file: .jsonl, .ndjson, .csv or .tsv.  "
    "[default: JSON lines on standard output]",
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
    as_tsv: bool,
    stages: bool,
    source: Path | None,
    format: str | None,
    column: str | None,
    pair_column: str | None,
    id_column: str | None,
    delimiter: str | None,
    no_quotes: bool,
    encoding: str | None,
    output: Path,
    force: bool,
    resume: bool,
    **scoring: Any,
) -> None:
    """Score texts, and show the labels by score, highest first.

    Without TEXT, or with -, each line of standard input is a text. With --file each row of a file
    is a text. --file - or --format reads rows from standard input. Each result of a row contains
    "row", the number of its data row, counted from 0. With --id-column it also contains "id", the
    value of that column.

    --resume continues the --output of an interrupted run. It removes an incomplete last line, and
    does not classify again the rows that are already there. Use the same options as before.

    If a text cannot be classified, the command prints the reason, goes on, and exits 1 at the end.
    """
    options = {"model": connection.model, **scoring}
    from_stdin = texts in ((), ("-",))
    if source is None and format is not None and from_stdin:
        source, texts = _STANDARD, ()
    if as_tsv and (as_json or stages or output != _STANDARD):
        raise click.UsageError("--tsv goes with neither --json, --stages nor --output.")
    if source is not None:
        if texts or pair is not None or stages:
            raise click.UsageError("--file goes with neither TEXT, --pair nor --stages.")
        if resume and (force or output == _STANDARD or source == _STANDARD):
            raise click.UsageError(
                "--resume needs a --file and an --output, and does not go with --force."
            )
        from .files import classify_file
        from .outputs import OutputFile
        from .rows import Columns, InputFile

        columns = Columns(column or "", pair_column or "", id_column or "")
        errors = classify_file(
            connection,
            InputFile(source, columns, format, delimiter, not no_quotes, encoding),
            OutputFile(output, force, resume, as_tsv),
            **options,
        )
    else:
        of_rows = (format, column, pair_column, id_column, delimiter, no_quotes, force, resume)
        if any(of_rows) or output != _STANDARD:
            raise click.UsageError(
                "--format, --column, --pair-column, --id-column, --delimiter, --no-quotes, "
                "--output, --force and --resume go with --file."
            )
        if encoding is not None and not from_stdin:
            raise click.UsageError("--encoding goes with --file or standard input.")
        from .texts import classify_texts

        errors = classify_texts(
            connection,
            texts,
            pair=pair,
            style="json" if as_json else "tsv" if as_tsv else "bars",
            stages=stages,
            encoding=encoding,
            **options,
        )
    if errors:
        raise click.exceptions.Exit(FAILED)
