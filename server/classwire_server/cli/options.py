"""Settings as options of the command line, grouped in `--help`."""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from classwire_server.config.server_config import SETTING_GROUPS
from classwire_server.config.sources import kind

CONFIG = click.Option(
    ["--config"], type=click.Path(), metavar="FILE", help="TOML file with settings."
)


class SettingsCommand(click.Command):
    """A command with settings as options. Its help lists its own options, then each group.

    `settings` names the settings to take, all by default. The callback gets those that are not
    given as None or ().
    """

    def __init__(
        self,
        name: str,
        callback: Callable[..., Any],
        *,
        own: Collection[click.Option],
        settings: Collection[str] | None = None,
    ) -> None:
        self._groups: Mapping[str, Collection[click.Option]] = {
            "Options": own,
            **{
                title: [option(field) for field in group if not settings or field.name in settings]
                for title, group in SETTING_GROUPS.items()
            },
        }
        super().__init__(
            name,
            callback=callback,
            help=callback.__doc__,
            params=[each for group in self._groups.values() for each in group],
            context_settings={"max_content_width": 100},
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group under its title."""
        groups: dict[str, list[click.Parameter]] = {
            title: [*options] for title, options in self._groups.items()
        }
        groups["Options"] += [each for each in self.get_params(ctx) if each not in self.params]
        for title, options in groups.items():
            if rows := [row for each in options if (row := each.get_help_record(ctx))]:
                with formatter.section(title):
                    formatter.write_dl(rows)


def option(field: "dataclasses.Field[Any]") -> click.Option:
    """Return the option of a field of ServerConfig, with its help."""
    flag = "--" + field.name.replace("_", "-")
    wanted = kind(field)
    text = field.metadata["help"]
    if field.default not in ("", (), False):
        default = "on" if field.default is True else field.default
        text += f" [default: {default}]"
    if wanted is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=text)
    if wanted is tuple:
        return click.Option(
            [flag],
            multiple=True,
            metavar="[NAME=]CHECKPOINT",
            help=text,
            shell_complete=lambda *of: [CompletionItem(of[-1], type="dir")],
        )
    return click.Option([flag], type=wanted, default=None, help=text)
