"""Reads settings from the command line, the environment and a TOML file."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from classwire_server.errors import ConfigError

from .files import table_in
from .server_config import ServerConfig

ENVIRONMENT_PREFIX = "CLASSWIRE_"
MAX_INTEGER_BITS = 64
"""No setting is larger. Far larger numbers cannot be printed or converted to float."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def resolve(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: str | None
) -> ServerConfig:
    """Return the settings of a server. A flag wins over the environment, and that over the file.

    `flags` holds the settings on the command line by field name. `environment` is that of the
    process (`CLASSWIRE_MAX_STREAMS`; commas separate several models). `file` is the path of a TOML
    file whose keys are field names. Raises ConfigError, one line, for unknown keys and bad values.
    """
    from_file = _read_file(file) if file else {}
    values: dict[str, Any] = {}
    for field in dataclasses.fields(ServerConfig):
        variable = ENVIRONMENT_PREFIX + field.name.upper()
        if field.name in flags:
            values[field.name] = flags[field.name]
        elif variable in environment:
            values[field.name] = _parse(field, environment[variable], variable)
        elif field.name in from_file:
            values[field.name] = _convert(field, from_file[field.name], file or "")
    return ServerConfig(**values)


def kind(field: "dataclasses.Field[Any]") -> type:
    """Return the type of a setting: str, int, float, bool or tuple (of str)."""
    return type(field.default)


def _read_file(path: str) -> dict[str, Any]:
    values = table_in("config", path)
    known = {field.name for field in dataclasses.fields(ServerConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError("config", f"{path}: no such setting: {', '.join(unknown)}")
    return values


def _parse(field: "dataclasses.Field[Any]", text: str, variable: str) -> Any:
    """Convert a value from the environment."""
    wanted = kind(field)
    if wanted is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if wanted is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ConfigError(field.name, f"{variable}={text!r} is neither true nor false")
        return text.lower() in _TRUE
    try:
        return wanted(text)
    except ValueError:
        raise ConfigError(field.name, f"{variable}={text!r} is not a number") from None


def _convert(field: "dataclasses.Field[Any]", value: Any, path: str) -> Any:
    """Convert a value from a TOML file."""
    wanted = kind(field)
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise ConfigError(field.name, f"{path}: the number has too many digits")
    if wanted is tuple:
        parts = [value] if isinstance(value, str) else value
        if isinstance(parts, list) and all(isinstance(part, str) for part in parts):
            return tuple(parts)
    elif wanted is float and type(value) in (int, float):
        return float(value)
    elif type(value) is wanted:
        return value
    name = "a list of strings" if wanted is tuple else f"of type {wanted.__name__}"
    raise ConfigError(field.name, f"{path}: the value is not {name}")
