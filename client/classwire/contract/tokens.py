"""Tokens: what a caller shows, and what a server keeps of it.

A token holds the name of its caller, so that a server looks at one hash and not at all of them, and
256 bits of chance. Nobody can guess those, however fast a hash is computed, so one pass of HMAC is
enough: a slow hash would only give strangers a way to keep the server busy.
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
    """The caller that a token says it is of; None when it is no token."""
    match = _TOKEN.fullmatch(token)
    return match and match[1]


def hash_of(token: str, salt: bytes | None = None) -> str:
    """What a server keeps of a token; with a new salt unless one is given."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"hmac-sha256:{salt.hex()}:{hmac.digest(salt, token.encode(), 'sha256').hex()}"


def is_hash(text: str) -> bool:
    """Whether a text has the form of a hash."""
    return _HASH.fullmatch(text) is not None


def is_hash_of(text: str, token: str) -> bool:
    """Whether a hash is that of a token; how long that takes says nothing of where they differ."""
    salt = bytes.fromhex(text.split(":")[1])
    return hmac.compare_digest(text, hash_of(token, salt))
