"""`classwire tokenize`, `models` and `health`."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from classwire.escaping import visible

from .connection import Connection, connection_options, reworded
from .failures import FAILED, Failure
from .window_options import layout_options

if TYPE_CHECKING:
    from rich.table import Table

    from classwire import Model
    from classwire.options import OffsetUnit, Truncation

MODEL_HEALTH = "classwire.model."
"""What the health name of a model begins with."""
_UNKNOWN = "–"
"""For what the server does not know before the model is loaded."""


@click.command()
@click.argument("text")
@click.option("--pair", metavar="TEXT", help="Second text of a pair.")
@layout_options()
@click.option(
    "--offset-unit",
    type=click.Choice(["unicode", "utf8", "utf16"]),
    help="Unit of spans: code points, bytes or UTF-16 code units.  [default: unicode]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connection_options
def tokenize(
    *,
    connection: Connection,
    text: str,
    pair: str | None,
    truncation: "Truncation | None",
    window_tokens: int | None,
    overlap_tokens: int | None,
    offset_unit: "OffsetUnit | None",
    as_json: bool,
) -> None:
    """Show the tokens that the model would read for TEXT.

    Those of several windows come one after the other; "2.0" is the first token of the second.
    """
    with connection.open() as client:
        seen = client.tokenize(
            text,
            pair,
            model=connection.model,
            truncation=truncation,
            offset_unit=offset_unit,
            window_tokens=window_tokens,
            overlap_tokens=overlap_tokens,
        )
    if as_json:
        _print_json(dataclasses.asdict(seen))
        return
    from .rendering import console

    counts = [window.token_count for window in seen.windows] or [len(seen.tokens)]
    positions = [
        f"{number}." * (len(counts) > 1) + str(position)
        for number, count in enumerate(counts, start=1)
        for position in range(count)
    ]
    table = columns("", "token", "id", "span", "type", "mask", right=(0, 2, 4, 5))
    for position, token, mask in zip(positions, seen.tokens, seen.attention_mask, strict=True):
        which = "pair " if token.sequence_index else ""
        table.add_row(
            position,
            visible(token.text),
            str(token.id),
            "special" if token.special else f"{which}{token.start}-{token.end}",
            str(token.token_type_id),
            str(mask),
            style="dim" if token.special else "",
        )
    out = console()
    out.print(table)
    if seen.truncated_tokens:
        out.print(f"({seen.truncated_tokens} tokens cut off)", style="dim")


@reworded(model="Model to list.  [default: all]")
@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each model.")
@connection_options
def models(*, connection: Connection, as_json: bool) -> None:
    """List the models of the server, or only the one of --model."""
    with connection.open() as client:
        served = [client.model(connection.model)] if connection.model else client.models()
    if as_json:
        for model in served:
            _print_json(dataclasses.asdict(model))
        return
    from .rendering import console

    out = console()
    if not served:
        out.print("(no models)", style="dim")
        return
    # A model is a column, since its facts do not fit one line. A terminal has room for about three.
    for start in range(0, len(served), 3):
        if start:
            out.print()
        out.print(_models_table(served[start : start + 3]))


def _models_table(served: Sequence["Model"]) -> "Table":
    table = columns("model", *(visible(model.name) for model in served))
    facts: dict[str, Callable[[Model], str]] = {
        "default": lambda model: "yes" if model.is_default else "no",
        "state": lambda model: f"{model.state} {visible(model.failure or '')}".strip(),
        "architecture": lambda model: model.architecture or _UNKNOWN,
        "labels": lambda model: ", ".join(visible(label) for label in model.labels),
        "tasks": lambda model: ", ".join(model.tasks) or _UNKNOWN,
        "max tokens": lambda model: str(model.max_tokens or _UNKNOWN),
        "device": lambda model: model.device or _UNKNOWN,
        "precision": lambda model: model.precision or _UNKNOWN,
        "engine": lambda model: (
            ", ".join(filter(None, (model.execution, model.layout))) or _UNKNOWN
        ),
        "fingerprint": lambda model: (model.fingerprint or _UNKNOWN)[:12],
    }
    for name, fact in facts.items():
        table.add_row(name, *(fact(model) for model in served))
    return table


@reworded(model="Model whose health to print.  [default: the server as a whole]")
@click.command()
@click.argument("service", default="")
@click.option(
    "--wait-s",
    type=click.FloatRange(min=0, min_open=True),
    help="Wait up to this many seconds until the server is ready.",
)
@connection_options
def health(*, connection: Connection, service: str, wait_s: float | None) -> None:
    """Print the health of the server; exit 0 only if it is SERVING.

    SERVICE is classwire.v1.ClassifyService, classwire.model.NAME (or use --model NAME), or
    classwire.liveness. The default is the server as a whole.

    It tests no credentials, unless the server has --no-open-health; `classwire models` does.
    """
    if connection.model and not service:
        service = f"{MODEL_HEALTH}{connection.model}"
    with connection.open(contact=False) as client:
        if wait_s is not None:
            from .rendering import console

            with console(stderr=True).status(f"waiting for the server, up to {wait_s:g} s"):
                client.wait_until_ready(wait_s)
        status = client.health(service)
    click.echo(status)
    if status == "SERVICE_UNKNOWN" and service.startswith(MODEL_HEALTH):
        name = service.removeprefix(MODEL_HEALTH)
        raise Failure(f"no model named {name!r}; `classwire models` lists them")
    if status != "SERVING":
        raise click.exceptions.Exit(FAILED)


def columns(*names: str, right: Sequence[int] = ()) -> "Table":
    """A table without lines; `right` has the indices of right-aligned columns."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, name in enumerate(names):
        table.add_column(name, justify="right" if index in right else "left", overflow="fold")
    return table


def _print_json(record: object) -> None:
    from .records import json_line

    out = sys.stdout.buffer
    out.write(json_line(record))
    out.flush()
