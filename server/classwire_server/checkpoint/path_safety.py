"""Checks that loading a checkpoint reads only files of its own folder.

A malicious checkpoint could make the server read other files through links, the names of shards,
paths in its tokenizer's configs, or an adapter's base model. `transformers` looks up all other
names in the folder only, and the hub's library rejects names that lead out of a snapshot.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from classwire_server.config.model_source import HUB_ID
from classwire_server.errors import CheckpointError


def check_contained(folder: Path) -> None:
    """Raise CheckpointError for a file that leads out of a checkpoint's folder, naming it."""
    here = folder.resolve()
    allowed = [here]
    if here.parent.name == "snapshots":  # the hub's cache, whose files are links to its blobs
        allowed.append(here.parents[1] / "blobs")
    indices = sorted(here.glob("*.index.json"))
    for path in (*_links(here), *chain.from_iterable(map(shards, indices))):
        name = os.path.relpath(path, here)
        if _is_loop(path):
            raise CheckpointError(f"{folder}: {name} is a link that leads to itself")
        target = Path(os.path.realpath(path))
        if not any(target.is_relative_to(place) for place in allowed):
            raise CheckpointError(f"{folder}: {name} leads out of the folder")


TOKENIZER_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")
"""Files whose entries `transformers` passes to a tokenizer as its arguments."""


def check_named_files(config: Mapping[str, Any], location: str, file: str) -> None:
    """Raise ValueError if a tokenizer's config names a file of this machine that is not its own.

    `config` is the content of `file`, one of TOKENIZER_CONFIGS. `transformers` opens such a file,
    by "vocab", "vocab_file", "tokenizer_file", "init_inputs" or "fast_tokenizer_files".
    """
    here = os.path.abspath(location)
    allowed = (here, os.path.realpath(here))
    values = (value for key, value in config.items() if not key.endswith("_token"))
    for value in chain.from_iterable(v if isinstance(v, list) else [v] for v in values):
        if not isinstance(value, str):
            continue
        for path in (value, os.path.join(here, value)):  # from the current folder, or its own
            target = Path(os.path.abspath(path))
            if os.path.isfile(path) and not any(map(target.is_relative_to, allowed)):
                raise ValueError(f"its {file} names {value}, outside of the checkpoint")


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


def shards(index: Path) -> Iterator[Path]:
    """The weight files that an index names. Raises CheckpointError if it is not an index."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        yield from (index.parent / name for name in sorted(names))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(
            f"{index.parent}: {index.name} is not a valid index of weights"
        ) from None


def base_of(name: str, adapter: Path, base: Any, bases: str) -> str:
    """The folder or hub id of an adapter's base model, from what its config says.

    An adapter names any path, so a folder counts only if it lies in the adapter's own folder, or in
    `bases`, the folder that the operator names. Raises CheckpointError, which begins with `name`.
    """
    if not isinstance(base, str) or not base:
        raise CheckpointError(f"{name}: its adapter_config.json names no base model")
    # transformers reads a path from the current folder before it asks the hub.
    found = next(filter(os.path.exists, (os.path.join(adapter, base), base)), None)
    if found is None and HUB_ID.fullmatch(base):
        return base
    if found is None or not os.path.isdir(found):
        raise CheckpointError(
            f"{name}: its base model {base}: no such folder (a relative path starts at the "
            "adapter's folder); correct base_model_name_or_path in adapter_config.json"
        )
    folder = Path(found).resolve()
    allowed = [adapter, *([Path(bases).expanduser()] if bases else [])]
    if not any(folder.is_relative_to(place.resolve()) for place in allowed):
        raise CheckpointError(
            f"{name}: its base model {base} lies outside of its folder; "
            "--adapter-bases names a folder of base models"
        )
    check_contained(folder)
    return str(folder)
