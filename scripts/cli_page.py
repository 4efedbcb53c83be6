"""Writes the options of every command into docs/reference/cli.md.

python -m scripts.cli_page
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from itertools import starmap

import click

from classwire.cli import command
from classwire.cli.serving import ServerCommand
from classwire_server.config.server_config import SETTING_GROUPS

from .pages import ROOT, between

PAGE = ROOT / "docs" / "reference" / "cli.md"
BEGIN, END = "<!-- options: written by scripts.cli_page -->", "<!-- /options -->"
SEVERAL = 3
"""Options of at least this many commands are listed once, in a shared table."""
SETTINGS = {
    title: [f"--{field.name.replace('_', '-')}" for field in group]
    for title, group in SETTING_GROUPS.items()
}
"""The flags of all settings, by group."""
ON_SERVERS = ("serve", "compile", "doctor", "ray up")
"""Commands whose options are settings. Client options of the same name mean something else."""

Row = tuple[str, str]


def commands(group: click.Group = command, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is not a group, with its full name, such as `token new`."""
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            yield from commands(found, f"{above}{name} ")
        else:
            yield above + name, found.load() if isinstance(found, ServerCommand) else found


def rows(found: click.Command) -> list[Row]:
    """Return the options of a command with their meaning, as in its help."""
    context = click.Context(found)
    records = (option.get_help_record(context) for option in found.get_params(context))
    return [row for row in records if row and row[0].startswith("--") and "--help" not in row[0]]


def options() -> str:
    """Return the tables of all options: shared ones first, then those of each command."""
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
        settings = _settings({_flag(row) for row in listed}) if name in ON_SERVERS else {}
        grouped = {flag for flags in settings.values() for flag in flags}
        own = [row for row in listed if row not in shared and _flag(row) not in grouped]
        if own or settings:
            parts.append(f"### `classwire {name}`")
        if own:
            parts.append(_table(own))
        if settings == SETTINGS:
            parts.append("It also takes all [settings](settings.md).")
        elif settings:
            parts.append("It also takes these [settings](settings.md):")
            parts.append("\n".join(starmap(_group, settings.items())))
    return "\n\n".join(parts)


def page() -> str:
    """Return the up-to-date page."""
    return between(PAGE.read_text(encoding="utf-8"), BEGIN, END, options())


def _settings(flags: Set[str]) -> dict[str, list[str]]:
    """Return those of a command's flags that are settings, by group."""
    taken = {title: [flag for flag in group if flag in flags] for title, group in SETTINGS.items()}
    return {title: group for title, group in taken.items() if group}


def _group(title: str, flags: Iterable[str]) -> str:
    return f"- {title}: {', '.join(f'`{flag}`' for flag in flags)}"


def _flag(row: Row) -> str:
    return row[0].split()[0]


def _table(listed: Iterable[Row]) -> str:
    lines = [f"| `{_cell(name)}` | {_cell(said)} |" for name, said in listed]
    return "\n".join(["| option | meaning |", "|---|---|", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
