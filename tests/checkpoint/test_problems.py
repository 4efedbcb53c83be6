"""The sentences that tell an operator why a checkpoint cannot be loaded."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from classwire_server.checkpoint.loading import load_checkpoint
from classwire_server.checkpoint.problems import explain
from classwire_server.cli.check import findings
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError, telling_line
from tests.conftest import launch_forked

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@pytest.fixture
def folder(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a tiny BERT with five labels that a test may change."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def _error(place: Path | str, **settings: Any) -> str:
    """The error without the name of the checkpoint, with which it begins."""
    config = ServerConfig(model=(f"model={place}",), **settings)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(config.sources[0], config)
    name, _, problem = str(error.value).partition(": ")
    assert name == config.sources[0].location
    assert "\n" not in problem
    return problem


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "spiece.model"])
def test_a_git_lfs_pointer(folder: Path, name: str) -> None:
    """A pointer in place of a file is named, with the command that fetches the file."""
    (folder / name).write_bytes(POINTER)
    assert _error(folder) == (
        f"{name} is a Git LFS pointer, not the file itself: run git lfs pull in the folder"
    )


def test_a_pointer_that_nothing_reads(folder: Path) -> None:
    """A file that the loader does not read is never named as the cause."""
    (folder / "tf_model.h5").write_bytes(POINTER)
    (folder / "trainer_state.json").write_bytes(POINTER)
    _edit(folder, id2label={"0": "good", "1": "bad"}, label2id={})
    assert "5 labels" in _error(folder)


def test_a_head_that_does_not_fit_the_config(folder: Path) -> None:
    """The error has both numbers of labels, and the file to correct."""
    _edit(folder, id2label={"0": "good", "1": "bad"}, label2id={})
    assert _error(folder) == (
        "its weights have 5 labels (classifier.bias), and its config.json has 2; "
        "correct id2label there"
    )


def test_weights_that_do_not_fit_the_config(folder: Path) -> None:
    """The error names a weight and both of its shapes."""
    _edit(folder, vocab_size=10)
    problem = _error(folder)
    assert problem.startswith("its weights do not fit its config.json: bert.embeddings.word_")
    assert problem.endswith("x32 in the weights and 10x32 by the config")


def test_weights_of_another_architecture(folder: Path) -> None:
    """Weights that belong to another model are not called incomplete."""
    _edit(folder, model_type="roberta", architectures=["RobertaForSequenceClassification"])
    assert _error(folder) == (
        "its weights (bert.embeddings.LayerNorm.bias, …) are not those of "
        "RobertaForSequenceClassification, which its config.json names"
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{,", "is not JSON: Expecting property name enclosed in double quotes, line 1, column 2"),
        (b"[]", "is not a JSON object"),
        (b"\xff\xfe{}", "is not JSON: byte 0 is not UTF-8"),
    ],
)
def test_files_that_are_not_json(folder: Path, name: str, content: bytes, problem: str) -> None:
    """The error names the file, and the place in it."""
    (folder / name).write_bytes(content)
    assert _error(folder) == f"{name} {problem}"


def test_damaged_safetensors(folder: Path) -> None:
    """The error names the file whose download was cut off, or that is something else."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>not found</html>"):
        path.write_bytes(content)
        assert _error(folder).startswith("model.safetensors is damaged or cut off: Error while ")


class _Folder:
    """Its pickle creates a folder when it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/nowhere/at/all",)


def test_pickled_weights(folder: Path) -> None:
    """A .bin file with code is refused by the name of the code; a damaged one is called so."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save({"x": _Folder()}, path)
    assert _error(folder) == (
        "pytorch_model.bin holds Python code (posix.mkdir), which the server never runs; "
        "save the weights as safetensors"
    )
    torch.save(weights, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>"):
        path.write_bytes(content)
        assert "pytorch_model.bin is damaged, cut off or no file" in _error(folder)


def test_no_weights(folder: Path) -> None:
    """Weights in another format are named; a missing shard too."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    assert _error(folder) == "has no weights, model.safetensors or pytorch_model.bin"
    (folder / "tf_model.h5").touch()
    assert _error(folder).endswith(" (it has tf_model.h5)")
    shard = "model-00002-of-00002.safetensors"
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert _error(folder) == f"{shard} is missing, which the index of its weights names"


def test_the_output_folder_of_a_training(folder: Path) -> None:
    """The error names the checkpoint with the most steps, not the last one in the alphabet."""
    output = folder.parent
    for steps in (900, 1500, 20):
        shutil.copytree(folder, output / f"checkpoint-{steps}")
    assert _error(output) == (
        "has no config.json, which save_pretrained writes; it is the output of a training, "
        f"and its newest checkpoint is {output}/checkpoint-1500"
    )
    shutil.copy(folder / "config.json", output)
    assert _error(output).endswith(f"its newest checkpoint is {output}/checkpoint-1500")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model_type": "vit"}, "transformers has no sequence classification for its model type"),
        ({"model_type": "nonesuch"}, " does not know its model type nonesuch"),
        ({"model_type": None}, "its config.json has no model_type"),
        ({"hidden_size": "big"}, "Field 'hidden_size' expected int, got str (value: 'big')"),
        ({"hidden_size": 33}, "The hidden size (33) is not a multiple of the number of attention"),
        ({"hidden_act": "nonesuch"}, "KeyError 'nonesuch' in activations.py, line "),
        ({"id2label": {"a": "good"}}, "its id2label is not a map of ids to labels"),
        ({"id2label": ["good", "bad"]}, "its id2label is not a map of ids to labels"),
    ],
)
def test_configs_that_fit_no_classifier(
    folder: Path, changes: dict[str, Any], problem: str
) -> None:
    """The error says what the config must have, also where transformers only names a class."""
    _edit(folder, **changes)
    assert problem in _error(folder)


def test_labels_that_are_numbers(folder: Path) -> None:
    """Numbers in id2label are served as text, as transformers prints them."""
    _edit(folder, id2label={"0": 1, "1": -2, "2": 3.5, "3": True, "4": "five"}, label2id={})
    config = ServerConfig(model=(f"model={folder}",))
    checkpoint, *_ = load_checkpoint(config.sources[0], config)
    assert checkpoint.labels == ("1", "-2", "3.5", "True", "five")


@pytest.mark.parametrize("place", ["runs/final", "final"])
def test_a_folder_that_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A mistyped path with the form of a hub id is called a missing folder too."""
    monkeypatch.chdir(tmp_path)
    cache = {"cache_dir": str(tmp_path), "offline": True}
    assert _error(place, **cache) == (
        "no such folder, and the hub's cache does not have it; the server is offline: "
        f"run hf download {place} where there is a network, or name a folder"
    )


@pytest.mark.parametrize("place", ["final/", "my model", "a/b/c", "runs\\final", "-x", "x."])
def test_a_path_that_cannot_be_a_hub_id(place: str) -> None:
    """Only what the hub allows as an id is looked up there."""
    assert _error(place) == "no such folder"


def test_a_file(folder: Path) -> None:
    """A file is not called a missing folder."""
    assert _error(folder / "model.safetensors") == "is a file; name the folder that has it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_the_server_may_not_read() -> None:
    """A folder without permission is not called empty or incomplete."""
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        folder = Path(parent, "secret")
        folder.mkdir(mode=0o700)
        code = (
            "import os, sys; from classwire_server.checkpoint.loading import locate; "
            "from classwire_server.config.model_source import ModelSource; os.setuid(65534); "
            "locate(ModelSource('model', sys.argv[1]))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
        )
    last = ended.stderr.splitlines()[-1]
    assert last.endswith(f"{folder}: cannot be read: the server lacks the permission")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            ImportError(
                "\nT5Tokenizer requires the SentencePiece library but it was not found in your "
                "environment. Check out the instructions on the\ninstallation page."
            ),
            "it needs the package SentencePiece, which is not installed",
        ),
        (PermissionError(13, "Permission denied", "/x"), "/x cannot be read: the server lacks the"),
        (MemoryError(), "its weights do not fit into memory"),
        (ValueError("Errors in loading:\n\t\x1b[1msize mismatch for x"), "size mismatch for x"),
    ],
)
def test_exceptions(error: Exception, problem: str, tmp_path: Path) -> None:
    """Of an exception of many lines, or none, one telling sentence is left."""
    options = {"revision": None, "cache_dir": str(tmp_path)}
    explained = explain(error, "x", "acme/x", options, ServerConfig(offline=True))
    assert str(explained).startswith(f"x: {problem}")


def test_the_telling_line() -> None:
    """An exception without text tells its place; a very long text is cut."""
    with pytest.raises(AssertionError) as silent:
        assert not os.sep
    assert "test_problems.py, line " in telling_line(AssertionError().with_traceback(silent.tb))
    assert telling_line(AssertionError().with_traceback(silent.tb)).endswith("assert not os.sep")
    assert len(telling_line(ValueError("long " * 100))) == 300


def test_the_same_sentence_everywhere(folder: Path, serve: Callable[..., Any]) -> None:
    """A server's start and `serve --check` tell the same."""
    (folder / "model.safetensors").write_bytes(POINTER)
    sentence = f"{folder}: {_error(folder)}"
    with pytest.raises(CheckpointError) as error:
        serve(model=(f"m={folder}",))
    assert str(error.value) == sentence
    *_, checked = findings(ServerConfig(model=(f"m={folder}",), port=0), launch_forked)
    assert checked.detail == sentence


def test_a_link_to_weights_that_are_gone(folder: Path, serve: Callable[..., Any]) -> None:
    """A dangling link is missing weights, with a memory budget too."""
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("elsewhere.safetensors")
    with pytest.raises(CheckpointError, match="has no weights"):
        serve(model=(f"m={folder}",), memory_budget_mb=4_000)
