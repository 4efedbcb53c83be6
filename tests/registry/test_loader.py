"""The loader: what it leaves in the server's process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from classwire_server.checkpoint.loading import Checkpoint
from classwire_server.registry import loader
from classwire_server.server import Server
from classwire_server.tokenization import Tokenization, Truncation


def test_a_load_returns_free_memory(
    serve: Callable[..., Server], checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a model's tokenizer has been read, which leaves much free memory, the server's process
    returns that to the system.
    """
    events: list[str] = []
    read = Checkpoint.tokenization

    def reads(self: Checkpoint, default_truncation: Truncation) -> Tokenization:
        tokenization = read(self, default_truncation)
        events.append("read")
        return tokenization

    monkeypatch.setattr(Checkpoint, "tokenization", reads)
    monkeypatch.setattr(loader, "trim", lambda: events.append("returned"))
    serve(model=(str(checkpoint("bert")),), device="cpu")
    assert events == ["read", "returned"]
