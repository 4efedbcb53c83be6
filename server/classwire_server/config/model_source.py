"""Where a model comes from."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from classwire_server.errors import ConfigError

MODEL_NAME = re.compile(r"[a-z0-9._-]{1,63}")


@dataclass(frozen=True)
class ModelSource:
    """Where one model comes from, and the name it is served under.

    `location` is a folder or a hub id; `revision` is a branch, tag or commit of the hub, or empty.
    """

    name: str
    location: str
    revision: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether the location is a folder of this machine."""
        return os.path.isdir(_path(self.location))

    @property
    def public_location(self) -> str:
        """What callers may see of the location: a hub id, or the last part of a folder's path."""
        path = _path(self.location)
        is_path = os.path.exists(path) or self.location.startswith(("/", "~", "."))
        return _last_part(path) if is_path else self.location

    @staticmethod
    def parse(text: str, default_revision: str = "") -> "ModelSource":
        """Parse `[name=]folder` or `[name=]id[@revision]`.

        Raises ConfigError when the name is not legal.
        """
        name, separator, location = text.partition("=")
        if not separator:
            name, location = "", text
        revision = default_revision
        is_folder = os.path.exists(_path(location))
        if not is_folder and "@" in location:
            location, _, revision = location.rpartition("@")
        if not location:
            raise ConfigError("model", f"{text!r} names no folder and no hub id")
        if not separator:
            last = _last_part(_path(location)) if is_folder else location
            name = re.sub(r"[^a-z0-9._-]+", "-", last.rsplit("/", 1)[-1].lower())[:63]
        if not MODEL_NAME.fullmatch(name):
            raise ConfigError("model", f"the name {name!r} is not of the form [a-z0-9._-]{{1,63}}")
        return ModelSource(name, location, "" if is_folder else revision)


# The functions of os.path take nearly any text, where Path raises: a home that nobody has, a name
# that is too long, a link that leads to itself.


def _path(location: str) -> str:
    return os.path.expanduser(location)


def _last_part(path: str) -> str:
    with suppress(ValueError):  # it holds what no path may
        path = os.path.realpath(path)
    return os.path.basename(path)
