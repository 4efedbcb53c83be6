"""Reads the TOML files of settings and callers. Its errors quote nothing from the files."""

import re
import tomllib
from typing import Any

from classwire_server.errors import ConfigError

_PLACE = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")
_TWICE = ("Cannot declare", "Cannot overwrite", "Cannot mutate", "Duplicate")


def table_in(setting: str, path: str) -> dict[str, Any]:
    """Return the table in the file of a setting.

    Raises ConfigError, which gives the problem and its position. The error quotes nothing from the
    file, because the text there may be a misplaced secret.
    """
    try:
        return tomllib.loads(contents(setting, path).decode())
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 (at byte {error.start})"
    except tomllib.TOMLDecodeError as error:
        problem = _problem(str(error))
    except ValueError:  # int() limits the number of digits
        problem = "has a number with too many digits"
    except RecursionError:
        problem = "has too many nested brackets"
    raise ConfigError(setting, f"{path}: {problem}")


def _problem(message: str) -> str:
    """Return the kind and position of tomllib's error, whose own message quotes keys."""
    kind = "something is named twice" if message.startswith(_TWICE) else "is not valid TOML"
    place = _PLACE.search(message)
    return f"{kind}{place[0]}" if place else kind


def contents(setting: str, path: str) -> bytes:
    """Return the bytes of the file of a setting. Raises ConfigError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(setting, f"{path}: {error.strerror}") from None
