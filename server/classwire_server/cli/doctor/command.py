"""`classwire doctor`: what this machine has for a server, and what a server chooses on it."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import Any

import click

from classwire.escaping import visible
from classwire_server.cli.check import Finding, model_findings
from classwire_server.cli.options import option
from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import ENVIRONMENT_PREFIX, resolve
from classwire_server.errors import ConfigError

from .machine import Facts, machine

_SETTINGS = (
    *("model", "device", "precision", "compile", "compile_cache", "lanes", "threads"),
    *("batch_tokens", "min_label_agreement", "max_score_difference"),
)
"""All that a choice depends on; the others are read from the file and the environment, too."""


def _doctor(config: str | None, as_json: bool, **flags: Any) -> None:
    """Print what this machine has for a server, and what a server chooses on it.

    Use it before you size a server, and in reports of faults. It prints versions, the processor and
    its instructions, memory, devices and the limits of cgroups. It loads each model as `classwire
    serve` does, and prints what was chosen for it and why. It prints no secret. It reads settings
    where `classwire serve` does.
    """
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        settings = resolve(
            given, os.environ, config or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
        )
    except ConfigError as error:
        click.echo(f"classwire doctor: {visible(str(error))}", err=True)
        raise click.exceptions.Exit(2) from None
    found, models = machine(), model_findings(settings)
    if as_json:
        listed = [dataclasses.asdict(finding) for finding in models]
        click.echo(json.dumps(found | {"models": listed}, indent=2, ensure_ascii=False))
        return
    for title, facts in found.items():
        click.echo("\n".join([title.capitalize(), *_lines(facts), ""]))
    for finding in models:
        click.echo("\n".join([visible(str(finding)), *_reasons(finding)]))


def _lines(facts: Facts) -> Iterator[str]:
    """Names in words, but for those of variables."""
    named = {n if n.isupper() else n.replace("_", " "): value for n, value in facts.items()}
    width = max(map(len, named), default=0)
    for name, value in named.items():
        shown = " ".join(value) if isinstance(value, list) else value
        yield f"  {name:{width}}  {'none' if shown in (None, '') else shown}"


def _reasons(finding: Finding) -> Iterator[str]:
    for choice in finding.choices:
        yield f"  {choice.what}: {choice.value}"
        yield click.wrap_text(choice.why, width=88, initial_indent="    ", subsequent_indent="    ")


doctor = click.Command(
    "doctor",
    callback=_doctor,
    help=_doctor.__doc__,
    params=[
        click.Option(["--config"], metavar="FILE", help="TOML file with settings."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
        *(option(field) for field in dataclasses.fields(ServerConfig) if field.name in _SETTINGS),
    ],
    context_settings={"max_content_width": 100},
)
