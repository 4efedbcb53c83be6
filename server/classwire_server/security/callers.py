"""Reads the callers file: the tokens, certificates and rights of each caller."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from classwire.contract.tokens import NAME, is_hash
from classwire_server.config.files import table_in
from classwire_server.errors import ConfigError

from .rate_limit import Rate

_KEYS = ("tokens", "certificates", "models", "text_tokens_per_s", "admin")


@dataclass(frozen=True, eq=False)
class Caller:
    """One caller and its rights.

    `tokens` are hashes of tokens, `certificates` are names in certificates. `models` are the models
    it may use, or None for all. `may_administer` allows the admin service.
    """

    name: str
    tokens: tuple[str, ...] = field(default=(), repr=False)
    certificates: tuple[str, ...] = ()
    models: frozenset[str] | None = None
    rate: Rate = field(default_factory=Rate)
    may_administer: bool = False


ANYBODY = Caller("", may_administer=True)
"""The caller of every call if the server has no callers file."""

Callers = Mapping[str, Caller]


def read_callers(path: str, *, with_certificates: bool, before: Callers) -> Callers:
    """Return the callers in a file by name. Raises ConfigError, which names the mistake.

    A caller that was there `before` keeps its `Rate` object and debt, even if the number changes,
    because its open streams use the same object.
    """
    table = table_in("callers", path)
    if not table:
        raise _wrong(path, "has no callers")
    callers = {name: _caller(path, name, entry) for name, entry in table.items()}
    names = [name for caller in callers.values() for name in caller.certificates]
    if names and not with_certificates:
        raise _wrong(path, "certificates need --tls-client-ca")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _wrong(path, f"the certificate {_redacted(twice)} is named twice")
    for name in callers.keys() & before.keys():
        rate = before[name].rate
        rate.change(callers[name].rate.tokens_per_s, time.monotonic())
        callers[name] = replace(callers[name], rate=rate)
    return callers


def _caller(path: str, name: str, entry: Any) -> Caller:
    if not NAME.fullmatch(name):
        raise _wrong(path, f"the name {_redacted(name)!r} does not match [a-z0-9-]{{1,63}}")
    if not isinstance(entry, dict):
        raise _wrong(path, f"{name} is not a table")
    if unknown := sorted(set(entry) - set(_KEYS)):
        raise _wrong(path, f"{name}: no such key: {', '.join(map(_redacted, unknown))}")
    tokens, certificates, models = (_texts(path, name, entry, key) for key in _KEYS[:3])
    if not tokens and not certificates:
        raise _wrong(path, f"{name} has neither tokens nor certificates")
    if not all(map(is_hash, tokens)):
        raise _wrong(path, f"{name}: tokens are hashes, as `classwire token new` prints them")
    tokens_per_s = entry.get("text_tokens_per_s", math.inf)
    if isinstance(tokens_per_s, bool) or not isinstance(tokens_per_s, int | float):
        raise _wrong(path, f"{name}: text_tokens_per_s is not a number")
    if not tokens_per_s >= 1:
        raise _wrong(path, f"{name}: text_tokens_per_s is less than 1")
    may_administer = entry.get("admin", False)
    if not isinstance(may_administer, bool):
        raise _wrong(path, f"{name}: admin is neither true nor false")
    return Caller(
        name,
        tokens,
        certificates,
        frozenset(models) if "models" in entry else None,
        Rate(_float(path, name, tokens_per_s)),
        may_administer,
    )


def _float(path: str, name: str, tokens_per_s: float) -> float:
    try:
        return float(tokens_per_s)
    except OverflowError:
        problem = f"{name}: text_tokens_per_s has too many digits"
        raise _wrong(path, problem) from None


def _texts(path: str, name: str, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = entry.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise _wrong(path, f"{name}: {key} is not a list of strings")
    return tuple(texts)


def _redacted(word: str) -> str:
    """Return a word of the file, or a placeholder if it may contain a token."""
    return "(a token)" if "cw_" in word else word


def _wrong(path: str, problem: object) -> ConfigError:
    return ConfigError("callers", f"{path}: {problem}")
