"""The options for a text with too many tokens, and for its windows."""

from collections.abc import Callable
from typing import Any, TypeAlias

import click

Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


def layout_options(read: str = "text") -> Decorator:
    """Add --truncation, --window-tokens and --overlap-tokens. `read` is what the model reads."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in (
            click.option(
                "--overlap-tokens",
                type=click.IntRange(min=0),
                help="Tokens that neighbouring windows share.  "
                "[default: a quarter of the window's text]",
            ),
            click.option(
                "--window-tokens",
                type=click.IntRange(min=1),
                help="Largest window, in tokens.  [default: as many as the model takes]",
            ),
            click.option(
                "--truncation",
                type=click.Choice(["reject", "drop_end", "drop_start", "windows"]),
                help=f"How to treat a {read} with too many tokens.  "
                "[default: the server's setting]",
            ),
        ):
            command = option(command)
        return command

    return add


def window_options(read: str = "text") -> Decorator:
    """Add the options of `layout_options`, and --aggregation."""
    aggregation = click.option(
        "--aggregation",
        type=click.Choice(["mean_logits", "max_score"]),
        help="How the answers of windows become one.  [default: by model and command]",
    )
    return lambda command: layout_options(read)(aggregation(command))
