"""A setting as an option of the command line."""

import dataclasses
from typing import Any

import click

from classwire_server.config.sources import kind


def option(field: "dataclasses.Field[Any]") -> click.Option:
    """The option of a field of ServerConfig, with its help; None when it is not given."""
    flag = "--" + field.name.replace("_", "-")
    wanted = kind(field)
    text = field.metadata["help"]
    if field.default not in ("", (), False):
        default = "on" if field.default is True else field.default
        text += f" [default: {default}]"
    if wanted is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    if wanted is tuple:
        return click.Option([flag], multiple=True, metavar="[NAME=]CHECKPOINT", help=text)
    return click.Option([flag], type=wanted, default=None, help=text)
