"""`classwire doctor`: prints the machine's facts, and the server's choices with their reasons."""

import dataclasses
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from classwire.escaping import visible
from classwire_server.cli.options import CONFIG, SettingsCommand
from classwire_server.config.sources import ENVIRONMENT_PREFIX, resolve
from classwire_server.errors import ConfigError

if TYPE_CHECKING:
    from classwire_server.cli.check import Finding

    from .machine import Facts

_SETTINGS = (
    *("model", "revision", "offline", "cache_dir", "adapter_bases", "trust_remote_code"),
    *("safetensors_only", "max_tokens", "device", "precision", "compile", "compile_cache"),
    *("lanes", "threads", "batch_tokens", "calibration", "min_label_agreement"),
    "max_score_difference",
)
"""The settings on which loading and a choice depend. File and environment may hold all others."""


def _doctor(config: str | None, as_json: bool, **flags: Any) -> None:
    """Print facts about this machine, and what a server chooses on it and why.

    Use it before you size a server, and in bug reports. It prints versions, the processor and its
    instructions, memory, devices and cgroup limits. Then it loads each model as `classwire serve`
    does, and prints each choice with its reason. It prints no secrets. It reads the same settings,
    environment and file as `classwire serve`.
    """
    # Imported here, so that help and shell completion are fast.
    from classwire.cli.waiting import elapsed
    from classwire_server.cli.check import model_findings

    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        settings = resolve(
            given, os.environ, config or os.environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")
        )
    except ConfigError as error:
        click.echo(f"classwire doctor: {visible(str(error))}", err=True)
        raise click.exceptions.Exit(2) from None
    found: dict[str, Any] = {}
    for title, facts in _sections():
        found[title] = facts
        if not as_json:
            lines = list(_lines(facts)) or ["  none"]
            click.echo("\n".join([title.capitalize(), *lines, ""]))
    models, found["models"] = model_findings(settings), []
    while True:
        with elapsed("loading and measuring a model"):
            finding = next(models, None)
        if finding is None:
            break
        found["models"].append(dataclasses.asdict(finding))
        if not as_json:
            click.echo("\n".join([visible(str(finding)), *_reasons(finding)]))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _sections() -> Iterator[tuple[str, "Facts"]]:
    """Yield the sections of facts, first those that need no torch, which is slow to import."""
    from classwire.cli.waiting import elapsed

    from .machine import devices, machine

    yield from machine()
    with elapsed("importing torch"):
        found = devices()
    yield "devices", found


def _lines(facts: "Facts") -> Iterator[str]:
    """Yield one line per fact. Names become words, except those of environment variables."""
    named = {n if n.isupper() else n.replace("_", " "): value for n, value in facts.items()}
    width = max(map(len, named), default=0)
    for name, value in named.items():
        text = " ".join(value) if isinstance(value, list) else value
        yield f"  {name:{width}}  {'none' if text in (None, '') else text}"


def _reasons(finding: "Finding") -> Iterator[str]:
    for choice in finding.choices:
        yield f"  {choice.what}: {choice.value}"
        yield click.wrap_text(choice.why, width=88, initial_indent="    ", subsequent_indent="    ")


doctor = SettingsCommand(
    "doctor",
    _doctor,
    own=[
        CONFIG,
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
    ],
    settings=_SETTINGS,
)
