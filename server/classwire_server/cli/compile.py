"""`classwire compile`: fills the cache of compiled models, for servers without a compiler."""

import os
import sys
import time
from typing import Any

import click

from classwire.escaping import visible
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.config.sources import ENVIRONMENT_PREFIX, resolve
from classwire_server.engine import FASTER_ON_CPU, Precision
from classwire_server.engine.compilation.process import compile_elsewhere
from classwire_server.errors import CompileError, ConfigError, StartError

from .options import CONFIG, SettingsCommand

_SETTINGS = (
    "model",
    "revision",
    "offline",
    "cache_dir",
    "adapter_bases",
    "trust_remote_code",
    "precision",
    "compile_cache",
)
"""The settings that determine an artefact or its place in the cache."""

_ON_CPU = (*FASTER_ON_CPU, Precision.FLOAT32)


def _compile(config: str | None, **flags: Any) -> None:
    """Compile models in advance, for `classwire serve --compile`.

    Takes about a minute for each model and precision, and needs a C++ compiler. A server that
    finds its models in --compile-cache needs no compiler. A compiled model works only on
    processors of the same kind, with the same versions of classwire, torch and transformers.
    --precision auto compiles every precision that a server may choose.

    Reads the same settings, environment and file as `classwire serve`. Prints one line for each
    model and precision: the time, the size and the folder.
    """
    given = {name: value for name, value in flags.items() if value not in (None, ())}
    try:
        file = config or os.environ.get(ENVIRONMENT_PREFIX + "CONFIG")
        settings = resolve(given, os.environ, file)
        precisions = _ON_CPU if settings.precision == "auto" else (Precision(settings.precision),)
        done = [
            _compile_one(source, settings, precision)
            for source in settings.sources
            for precision in precisions
        ]
    except StartError as error:
        print(f"classwire compile: {visible(str(error))}", file=sys.stderr)
        raise click.exceptions.Exit(2 if isinstance(error, ConfigError) else 1) from None
    if not all(done):
        raise click.exceptions.Exit(1)


def _compile_one(source: ModelSource, config: ServerConfig, precision: Precision) -> bool:
    """Compile one model and print the result. Returns whether it succeeded."""
    from classwire.cli.waiting import elapsed

    what = f"{source.name} in {precision.value}"
    started_s = time.monotonic()
    try:
        with elapsed(f"compiling {what}"):
            artefact = compile_elsewhere(source, config, precision)
    except CompileError as error:
        print(f"classwire compile: {visible(str(error))}", file=sys.stderr)
        return False
    seconds = time.monotonic() - started_s
    done = "already compiled" if artefact.was_there else f"compiled in {seconds:.0f} s"
    print(f"{what}: {done}, {artefact.size_bytes / 1e6:.1f} MB, {artefact.folder}", flush=True)
    return True


compile_ = SettingsCommand("compile", _compile, own=[CONFIG], settings=_SETTINGS)
