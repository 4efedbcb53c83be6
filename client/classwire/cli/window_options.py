"""The options of commands that may read a text in windows."""

from collections.abc import Callable
from typing import Any

import click

TRUNCATIONS = ("reject", "drop_end", "drop_start", "windows")


def window_layout(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --window-tokens and --overlap-tokens."""
    command = click.option(
        "--overlap-tokens",
        type=click.IntRange(min=0),
        help="Tokens that neighbouring windows share.  [default: a quarter of the window's text]",
    )(command)
    return click.option(
        "--window-tokens",
        type=click.IntRange(min=1),
        help="Largest window, in tokens.  [default: as many as the model takes]",
    )(command)


def window_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --window-tokens, --overlap-tokens and --aggregation."""
    aggregation = click.option(
        "--aggregation",
        type=click.Choice(["mean_logits", "max_score"]),
        help="How the answers of windows become one.  [default: by model and command]",
    )
    return window_layout(aggregation(command))
