"""Tokens of callers, and their hashes for the server.

A token contains the name of its caller, so that a server checks one hash only, and 256 random bits.
Those cannot be guessed even with a fast hash, so one pass of HMAC is enough. A slow hash would let
strangers keep the server busy.
"""

from __future__ import annotations

import hmac
import re
import secrets

NAME = re.compile(r"[a-z0-9-]{1,63}")
LONGEST_TOKEN = 256
_TOKEN = re.compile(r"cw_([a-z0-9-]{1,63})_[A-Za-z0-9_-]{43}")
_HASH = re.compile(r"hmac-sha256:([0-9a-f]{32}):[0-9a-f]{64}")


def new_token(name: str) -> str:
    """A new token for the caller of this name."""
    return f"cw_{name}_{secrets.token_urlsafe(32)}"


def name_in(token: str) -> str | None:
    """The caller that a token names; None if it is not a token."""
    match = _TOKEN.fullmatch(token)
    return match and match[1]


def hash_of(token: str, salt: bytes | None = None) -> str:
    """The hash of a token for the server, with a new salt unless one is given."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"hmac-sha256:{salt.hex()}:{hmac.digest(salt, token.encode(), 'sha256').hex()}"


def is_hash(text: str) -> bool:
    """Whether a text has the form of a hash."""
    return _HASH.fullmatch(text) is not None


def is_hash_of(text: str, token: str) -> bool:
    """Whether a hash is that of a token, in a time that does not depend on the difference."""
    salt = bytes.fromhex(text.split(":")[1])
    return hmac.compare_digest(text, hash_of(token, salt))
