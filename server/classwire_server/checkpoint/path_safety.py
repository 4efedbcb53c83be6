"""A checkpoint's folder holds all that is read of it: nothing in it may lead elsewhere.

Whoever wrote a checkpoint could have the server read other files by links, by the names of shards,
or by an adapter's base model. Names of other kinds `transformers` looks up in the folder alone, and
the hub's library refuses names that leave a snapshot.
"""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

from classwire_server.errors import CheckpointError


def check_contained(folder: Path) -> None:
    """Raise CheckpointError for what leads out of a checkpoint's folder, naming it."""
    if (folder / "adapter_config.json").exists():
        raise CheckpointError(f"{folder}: is an adapter to another checkpoint, not a whole one")
    here = folder.resolve()
    homes = [here]
    if here.parent.name == "snapshots":  # of the hub's cache, whose files are links to its blobs
        homes.append(here.parents[1] / "blobs")
    for path in (*_links(here), *_shards(here)):
        name = os.path.relpath(path, here)
        if _is_loop(path):
            raise CheckpointError(f"{folder}: {name} is a link that leads to itself")
        end = Path(os.path.realpath(path))
        if not any(end.is_relative_to(home) for home in homes):
            raise CheckpointError(f"{folder}: {name} leads out of the folder")


def _is_loop(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _links(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            if (path := Path(parent, name)).is_symlink():
                yield path


def _shards(folder: Path) -> Iterator[Path]:
    """The files that hold the weights, as indices name them."""
    for index in folder.glob("*.index.json"):
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            yield from (folder / name for name in sorted(names))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointError(f"{folder}: {index.name} is no index of weights") from None
