"""Files of certificates and callers, replaced atomically as an operator would."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme

from classwire import Tls
from classwire.contract.tokens import hash_of

HOST = "127.0.0.1"


def replace(path: Path, data: bytes) -> None:
    """Replace a file atomically."""
    scratch = path.with_name(path.name + ".new")
    scratch.write_bytes(data)
    os.replace(scratch, path)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in two files."""

    cert: Path
    key: Path

    @staticmethod
    def at(folder: Path, leaf: trustme.LeafCert, name: str = "server") -> "Pair":
        """Write a pair of this name into a folder, and return it."""
        pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        pair.put(leaf)
        return pair

    def put(self, leaf: trustme.LeafCert) -> None:
        """Replace both files, one after the other."""
        replace(self.cert, b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        replace(self.key, leaf.private_key_pem.bytes())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server with this pair."""
        return {"tls_cert": str(self.cert), "tls_key": str(self.key)}

    def client_tls(self, ca: Path) -> Tls:
        """Return the TLS of a client that trusts `ca` and presents this pair."""
        return Tls(ca, self.cert, self.key)


def ca_file(folder: Path, authority: trustme.CA, name: str = "ca") -> Path:
    """Write the certificate of an authority, and return its path."""
    path = folder / f"{name}.pem"
    replace(path, authority.cert_pem.bytes())
    return path


def callers_toml(callers: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the text of a callers file. It holds the hashes of `tokens`."""
    lines = []
    for name, entry in callers.items():
        lines.append(f"[{name}]")
        for key, value in entry.items():
            if key == "tokens":
                value = [hash_of(token) for token in value]
            lines.append(f"{key} = {list(value) if isinstance(value, tuple) else value!r}")
    return "\n".join(lines).encode()
