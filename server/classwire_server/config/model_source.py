"""Parses where a model comes from."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from classwire_server.errors import ConfigError

MODEL_NAME = re.compile(r"[a-z0-9._-]{1,63}")
HUB_ID = re.compile(r"(\w([\w.-]*\w)?/)?\w([\w.-]*\w)?")
"""What the hub allows as an id. Anything else can only be a path."""


@dataclass(frozen=True)
class ModelSource:
    """A model's location, and the name under which the server serves it.

    `location` is a folder or a hub id. `revision` is a hub branch, tag or commit, or empty.
    """

    name: str
    location: str
    revision: str = ""

    @property
    def is_folder(self) -> bool:
        """Whether the location is a folder on this machine."""
        return os.path.isdir(_path(self.location))

    @property
    def public_location(self) -> str:
        """The part of the location that callers may see: a hub id, or a folder's last part."""
        path = _path(self.location)
        is_path = os.path.exists(path) or not HUB_ID.fullmatch(self.location)
        return _last_part(path) if is_path else self.location

    @staticmethod
    def parse(text: str, default_revision: str = "") -> "ModelSource":
        """Parse `[name=]folder` or `[name=]id[@revision]`.

        Raises ConfigError if the name is not valid.
        """
        name, separator, location = text.partition("=")
        if not separator:
            name, location = "", text
        revision = default_revision
        is_folder = os.path.exists(_path(location))
        if not is_folder and "@" in location:
            location, _, revision = location.rpartition("@")
        if not location:
            raise ConfigError("model", f"{text!r} has no folder or hub id")
        if not separator:
            last = _last_part(_path(location)) if is_folder else location
            name = re.sub(r"[^a-z0-9._-]+", "-", last.rsplit("/", 1)[-1].lower())[:63]
        if not MODEL_NAME.fullmatch(name):
            raise ConfigError("model", f"the name {name!r} does not match [a-z0-9._-]{{1,63}}")
        return ModelSource(name, location, "" if is_folder else revision)


# os.path accepts text for which Path raises: an unknown home, a name that is too long, a link to
# itself.


def _path(location: str) -> str:
    return os.path.expanduser(location)


def _last_part(path: str) -> str:
    with suppress(ValueError):  # it has characters that no path may have
        path = os.path.realpath(path)
    return os.path.basename(path)
