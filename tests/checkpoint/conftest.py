"""Checkpoints with tokenizers of every kind."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from tests.checkpoint.tokenizers import put_tokenizer, sentencepiece_model

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is not asked, as in a server with --offline: no test waits for its retries."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def pieces() -> bytes:
    """A sentencepiece model."""
    return sentencepiece_model()


@pytest.fixture
def make(checkpoint: Callable[..., Path], tmp_path: Path) -> Make:
    """A function that writes a tiny BERT with another tokenizer: `make(kind, files, **config)`."""
    bert = checkpoint("bert", vocab_size=512)

    def write(kind: str, files: Mapping[str, str | bytes], **config: Any) -> Path:
        return put_tokenizer(bert, tmp_path / kind, kind, files, **config)

    return write
