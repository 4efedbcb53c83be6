"""Write the options of every command into docs/reference/cli.md, from the commands.

python -m scripts.cli_page
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator

import click

from classwire.cli import command
from classwire.cli.serving import ServerCommand
from classwire_server.config.server_config import ServerConfig

from .pages import ROOT, between

PAGE = ROOT / "docs" / "reference" / "cli.md"
BEGIN, END = "<!-- options: written by scripts.cli_page -->", "<!-- /options -->"
SEVERAL = 3
"""The least number of commands that share an option for it to get a table of its own."""
SETTINGS = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(ServerConfig)}
ON_SERVERS = ("serve", "compile", "doctor")
"""Commands whose options are settings; client commands have other options of the same names."""

Row = tuple[str, str]


def commands(group: click.Group = command, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield the full name of every command without subcommands, and the command: `token new`."""
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from commands(found, f"{above}{name} ")
        else:
            yield above + name, found.load() if isinstance(found, ServerCommand) else found


def rows(found: click.Command) -> list[Row]:
    """Return a command's options and their meanings, as its help shows them."""
    context = click.Context(found)
    records = (option.get_help_record(context) for option in found.get_params(context))
    return [row for row in records if row and row[0].startswith("--") and "--help" not in row[0]]


def options() -> str:
    """Return all options as Markdown: first shared ones, then those of each command."""
    by_command = {name: rows(found) for name, found in commands()}
    havers: dict[Row, list[str]] = defaultdict(list)
    for name, listed in by_command.items():
        for row in listed if name not in ON_SERVERS else ():
            havers[row].append(name)
    shared = {row: names for row, names in havers.items() if len(names) >= SEVERAL}
    parts = []
    for names in dict.fromkeys(map(tuple, shared.values())):
        parts.append(f"Options of {', '.join(f'`{name}`' for name in names)}:")
        parts.append(_table(row for row, having in shared.items() if tuple(having) == names))
    for name, listed in by_command.items():
        settings = [_flag(row) for row in listed if name in ON_SERVERS and _flag(row) in SETTINGS]
        own = [row for row in listed if row not in shared and _flag(row) not in settings]
        if own or settings:
            parts.append(f"### `classwire {name}`")
        if settings:
            every = len(settings) == len(SETTINGS)
            shown = "all" if every else ", ".join(f"`{flag}`" for flag in settings)
            parts.append(f"[Settings](settings.md): {shown}. In addition:")
        if own:
            parts.append(_table(own))
    return "\n\n".join(parts)


def page() -> str:
    """Return the page with current options."""
    return between(PAGE.read_text(encoding="utf-8"), BEGIN, END, options())


def _flag(row: Row) -> str:
    return row[0].split()[0]


def _table(listed: Iterable[Row]) -> str:
    lines = [f"| `{_cell(name)}` | {_cell(said)} |" for name, said in listed]
    return "\n".join(["| option | meaning |", "|---|---|", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
