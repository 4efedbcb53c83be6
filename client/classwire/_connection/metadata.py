"""The metadata of calls: as callers give it, and as gRPC takes it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from classwire.contract.reasons import Reason
from classwire.errors import InvalidInputError

Metadata: TypeAlias = Mapping[str, str | bytes | Sequence[str] | Sequence[bytes]]
"""Metadata of calls: each key with its value, or with a sequence of values."""
Pairs: TypeAlias = tuple[tuple[str, str | bytes], ...]

_KEY = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[ -~]*")


def pairs_of(metadata: Metadata | None) -> Pairs:
    """The metadata as gRPC takes it.

    Raises InvalidInputError for what HTTP/2 cannot carry: gRPC would report it as an error of the
    server.
    """
    if metadata is None:
        return ()
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping, not a {type(metadata).__name__}")
    pairs: list[tuple[str, str | bytes]] = []
    for key, values in metadata.items():
        if not isinstance(key, str):
            raise TypeError(f"a key of metadata must be a str, not {type(key).__name__}")
        if not isinstance(values, (str, bytes, Sequence)):
            raise TypeError(
                f"the value of {key!r} must be a str, bytes or a sequence of them, "
                f"not {type(values).__name__}"
            )
        pairs += [(key, value) for value in _several(values)]
    for key, value in pairs:
        if not isinstance(value, (str, bytes)):
            raise TypeError(
                f"the value of {key!r} must be a str or bytes, not {type(value).__name__}"
            )
        binary = key.endswith("-bin")
        if not _KEY.fullmatch(key):
            problem = f"the key {key!r} has characters other than 0-9 a-z _ . -"
        elif binary is not isinstance(value, bytes):
            problem = f"the value of {key!r} must be {'bytes' if binary else 'a str'}"
        elif isinstance(value, str) and not _TEXT.fullmatch(value):
            problem = (
                f"the value of {key!r} is not printable ASCII (keys ending in -bin take bytes)"
            )
        else:
            continue
        raise InvalidInputError(problem, reason=Reason.BAD_OPTION, field="metadata")
    return tuple(pairs)


def _several(values: str | bytes | Sequence[str] | Sequence[bytes]) -> Sequence[str | bytes]:
    return [values] if isinstance(values, (str, bytes)) else values
