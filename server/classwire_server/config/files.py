"""TOML files of settings and of callers, and what is wrong with one without a word of it."""

import re
import tomllib
from typing import Any

from classwire_server.errors import ConfigError

_PLACE = re.compile(r" \(at (line \d+, column \d+|end of document)\)$")
_TWICE = ("Cannot declare", "Cannot overwrite", "Cannot mutate", "Duplicate")


def table_in(setting: str, path: str) -> dict[str, Any]:
    """What the file of a setting holds.

    Raises ConfigError, which says what is wrong and where, and quotes nothing: it may be a secret
    in the wrong place.
    """
    try:
        return tomllib.loads(contents(setting, path).decode())
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 (at byte {error.start})"
    except tomllib.TOMLDecodeError as error:
        problem = _problem(str(error))
    except ValueError:  # of int, which takes no more digits than are good for anybody
        problem = "has a number of too many digits"
    except RecursionError:
        problem = "has too many brackets in each other"
    raise ConfigError(setting, f"{path}: {problem}")


def _problem(said: str) -> str:
    """What tomllib says, which quotes keys."""
    kind = "something is named twice" if said.startswith(_TWICE) else "is not TOML"
    place = _PLACE.search(said)
    return f"{kind}{place[0]}" if place else kind


def contents(setting: str, path: str) -> bytes:
    """The bytes of the file of a setting. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ConfigError(setting, f"{path}: {error.strerror}") from None
