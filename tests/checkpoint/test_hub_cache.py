"""Loading checkpoints by hub id from the hub's cache on disk."""

import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from classwire_server.checkpoint.hub import ask_hub
from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError

COMMITS = {"main": "a" * 40, "v1": "b" * 40}


@pytest.fixture
def cache(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A hub cache with acme/stars: `main` has two labels, `v1` three."""
    repository = tmp_path / "models--acme--stars"
    for (revision, commit), labels in zip(
        COMMITS.items(), [("bad", "good"), ("bad", "fair", "good")], strict=True
    ):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        shutil.copytree(checkpoint("bert", labels=labels), repository / "snapshots" / commit)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "default_revision", "revision", "labels"),
    [
        ("acme/stars", "", "main", ("bad", "good")),
        ("acme/stars@v1", "", "v1", ("bad", "fair", "good")),
        ("acme/stars", "v1", "v1", ("bad", "fair", "good")),
        ("acme/stars@main", "v1", "main", ("bad", "good")),
    ],
)
def test_revisions(
    cache: Path, text: str, default_revision: str, revision: str, labels: tuple[str, ...]
) -> None:
    """`id@revision` wins over `--revision`; the loaded revision is the hub's commit."""
    config = ServerConfig(
        model=(text,), revision=default_revision, cache_dir=str(cache), offline=True
    )
    loaded, *_ = load_checkpoint(config.sources[0], config)
    assert loaded.labels == labels
    assert loaded.revision == COMMITS[revision]
    assert loaded.location == "acme/stars"
    assert loaded.name == "stars"


@pytest.mark.parametrize("text", ["acme/moons", "acme/stars@v9"])
def test_offline_asks_no_hub(cache: Path, text: str) -> None:
    """Offline, an id or revision that the cache does not hold is a one-line error."""
    config = ServerConfig(model=(text,), cache_dir=str(cache), offline=True)
    source: ModelSource = config.sources[0]
    with pytest.raises(CheckpointError, match="acme/") as error:
        load_checkpoint(source, config)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "offline", "asked"),
    [
        ("stars", False, 1),
        ("acme/stars", False, 0),
        ("acme/adapter", False, 0),
        ("stars", True, 0),
        ("TMP", False, 0),
    ],
)
def test_the_hub_is_asked_once(
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    offline: bool,
    asked: int,
) -> None:
    """A model that is neither a folder nor in the cache is asked for once, and no answer is an
    error: each question costs the hub library's retries.
    """
    questions: list[str] = []

    def unreachable(name: str, *_: object, **__: object) -> str:
        questions.append(name)
        raise LocalEntryNotFoundError("no answer")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    adapter = cache / "models--acme--adapter"
    (adapter / "refs").mkdir(parents=True)
    (adapter / "refs" / "main").write_text("c" * 40)
    (adapter / "snapshots" / ("c" * 40)).mkdir(parents=True)
    (adapter / "snapshots" / ("c" * 40) / "adapter_config.json").write_text("{}")
    place = str(cache) if text == "TMP" else text
    config = ServerConfig(model=(f"m={place}",), cache_dir=str(cache), offline=offline)
    if asked:
        with pytest.raises(CheckpointError, match=r"stars: no such folder, .* cannot be reached"):
            ask_hub(config.sources[0], config)
    else:
        ask_hub(config.sources[0], config)
    assert questions == ["stars"] * asked
