"""Loading checkpoints: what the loader accepts, and what it rejects in one clear line."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from transformers import dynamic_module_utils

from classwire_server.checkpoint.loading import Checkpoint, load_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError


def _load(folder: Path, **settings: Any) -> Checkpoint:
    config = ServerConfig(model=(f"model={folder}",), **settings)
    checkpoint, *_ = load_checkpoint(config.sources[0], config)
    return checkpoint


def _error(folder: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        _load(folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def folder(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a tiny BERT that a test may change."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def _edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    return dict(model.state_dict())


def test_no_such_folder(tmp_path: Path) -> None:
    """A path that does not exist is an error; the loader does not look it up on the hub."""
    assert "no such folder" in _error(tmp_path / "nowhere" / "at-all")


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    """The loader rejects a folder without config.json, and says so of an empty one."""
    assert "the folder is empty" in _error(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert "has no config.json" in _error(tmp_path)


def test_no_weights(folder: Path) -> None:
    """The loader rejects a folder without weights."""
    (folder / "model.safetensors").unlink()
    assert "model.safetensors" in _error(folder)


def test_no_sequence_classification_head(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The loader rejects a masked-language model, which would get a random head."""
    source = checkpoint("bert")
    config = transformers.BertConfig.from_pretrained(source)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    error = _error(tmp_path)
    assert "no trained sequence-classification head" in error
    assert "classifier.bias" in error


def test_missing_weights(folder: Path) -> None:
    """The loader rejects a file without the weights of a layer, naming them."""
    weights = _weights(folder)
    removed = "bert.encoder.layer.1.output.dense.weight"
    del weights[removed]
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(folder, state_dict=weights)
    assert removed in _error(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    """The loader rejects weights that don't fit the config."""
    _edit_config(folder, intermediate_size=128)
    _error(folder)


def test_labels_that_leave_an_id_out(folder: Path) -> None:
    """The loader rejects an id2label without label 0."""
    _edit_config(folder, id2label={str(n): f"{n} stars" for n in range(1, 6)}, label2id={})
    assert "id2label has no label 0" in _error(folder)


@pytest.mark.parametrize(
    ("label", "problem"),
    [
        (["good"], "is not a text"),
        (None, "is not a text"),
        ({"x": 1}, "is not a text"),
        ("", "is empty"),
        ("\ud800", "is not Unicode"),
        ("é" * 513, "is larger than 1,024 bytes"),
        ("good\nERROR: a line", "has control characters"),
        ("\x1b[31mgood", "has control characters"),
        ("good\0", "has control characters"),
        ("good\u2028", "has control characters"),
    ],
    ids=ascii,
)
def test_unprintable_labels(folder: Path, label: Any, problem: str) -> None:
    """The loader rejects labels that callers and terminals can't show, naming the label."""
    labels = {str(n): f"{n} stars" for n in range(5)} | {"3": label}
    _edit_config(folder, id2label=labels, label2id={})
    assert f"{folder}: label 3 of its id2label {problem}" in _error(folder)


def test_the_longest_labels(folder: Path, checkpoint: Callable[..., Path]) -> None:
    """A label may have 1,024 bytes; all labels together have a limit of their own."""
    longest = {str(n): f"{n}{'é' * 511}!" for n in range(5)}
    _edit_config(folder, id2label=longest, label2id={})
    assert _load(folder).labels == tuple(longest.values())
    many = checkpoint("bert", labels=tuple(f"{n:01024}" for n in range(1_954)))
    assert "larger than 2,000,000 bytes together" in _error(many)


def test_an_architecture_that_classifies_nothing(folder: Path) -> None:
    """The loader rejects a model type without sequence classification."""
    _edit_config(folder, model_type="vit", architectures=["ViTModel"])
    _error(folder)


def test_logits_that_are_not_finite(folder: Path, serve: Callable[..., Any]) -> None:
    """The server does not start with weights that give NaN."""
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="not finite"):
        serve(model=(f"model={folder}",))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_are_converted_to_float32(
    checkpoint: Callable[..., Path], dtype: torch.dtype
) -> None:
    """The model is float32, whatever the format of its weights."""
    config = ServerConfig(model=(f"model={checkpoint('bert', dtype=dtype)}",))
    _, model, _ = load_checkpoint(config.sources[0], config)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def test_bin_weights_load(folder: Path) -> None:
    """pytorch_model.bin gives the same model as safetensors."""
    before = _load(folder).fingerprint
    torch.save(_weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert _load(folder).fingerprint == before


class _Touch:
    """Its pickle creates a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_run(folder: Path, tmp_path: Path) -> None:
    """The loader rejects a .bin file with more than weights, and does not run its code."""
    trap = tmp_path / "trap"
    torch.save({"classifier.bias": _Touch(trap)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    _error(folder)
    assert not trap.exists()


def test_remote_code_runs_only_if_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python code of a checkpoint runs only with trust_remote_code."""
    ran = tmp_path / "ran"
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    (folder / "modeling_own.py").write_text(
        "from pathlib import Path\n"
        "from transformers import BertConfig, BertForSequenceClassification\n"
        f"Path({str(ran)!r}).touch()\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own-bert'\n"
        "class OwnModel(BertForSequenceClassification):\n    config_class = OwnConfig\n"
    )
    _edit_config(
        folder,
        model_type="own-bert",
        architectures=["OwnModel"],
        auto_map={
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForSequenceClassification": "modeling_own.OwnModel",
        },
    )
    assert "--trust-remote-code" in _error(folder)
    assert not ran.exists()
    assert _load(folder, trust_remote_code=True).architecture == "OwnModel"
    assert ran.exists()


def test_the_fingerprint_covers_what_scores_depend_on(
    checkpoint: Callable[..., Path], folder: Path, tmp_path: Path
) -> None:
    """The fingerprint changes with a weight, label or word, and not with the folder."""
    before = _load(folder).fingerprint
    assert len(before) == 64
    assert _load(checkpoint("bert")).fingerprint == before

    relabelled = Path(shutil.copytree(folder, tmp_path / "labels"))
    _edit_config(relabelled, id2label={str(i): f"{i} stars" for i in range(5)}, label2id={})
    nudged = Path(shutil.copytree(folder, tmp_path / "weights"))
    model = transformers.BertForSequenceClassification.from_pretrained(nudged)
    model.classifier.bias.data[0] += 1e-6
    model.save_pretrained(nudged)
    reworded = Path(shutil.copytree(folder, tmp_path / "words"))
    tokenizer = json.loads((reworded / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["book"], words["hotel"] = words["hotel"], words["book"]
    (reworded / "tokenizer.json").write_text(json.dumps(tokenizer))

    others = {_load(other).fingerprint for other in (relabelled, nudged, reworded)}
    assert len(others | {before}) == 4


def test_the_fingerprint_does_not_depend_on_how_weights_are_stored(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The same values in float16 and float32 have the same fingerprint."""
    half = checkpoint("bert", dtype=torch.float16)
    model = transformers.BertForSequenceClassification.from_pretrained(half, dtype=torch.float32)
    full = Path(shutil.copytree(half, tmp_path / "full"))
    model.save_pretrained(full)
    assert _load(full).fingerprint == _load(half).fingerprint


@pytest.mark.parametrize(
    ("architecture", "max_tokens"),
    [("bert", 512), ("roberta", 512), ("modernbert", 512), ("distilbert", 512)],
)
def test_max_tokens(checkpoint: Callable[..., Path], architecture: str, max_tokens: int) -> None:
    """The token limit is the smallest of the tokenizer's, the positions, and the setting."""
    folder = checkpoint(architecture)
    assert _load(folder).max_tokens == max_tokens
    assert _load(folder, max_tokens=100).max_tokens == 100
    assert _load(folder, max_tokens=10_000).max_tokens == max_tokens


def test_max_tokens_from_positions_alone(folder: Path) -> None:
    """If the tokenizer names no limit, the positions set it."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["model_max_length"] = int(1e30)
    path.write_text(json.dumps(config))
    assert _load(folder).max_tokens == 512


def test_safetensors_only(folder: Path) -> None:
    """With safetensors_only the loader reads no other format."""
    _load(folder, safetensors_only=True)
    torch.save(_weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "its weights are pytorch_model.bin, which --safetensors-only rejects" in _error(
        folder, safetensors_only=True
    )


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "notes/more.txt"]
)
def test_links_out_of_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    """The loader rejects a link to a file outside of the folder, whatever it is for."""
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    (tmp_path / "secret").write_text("private")
    link.symlink_to("../" * len(Path(name).parts) + "secret")
    assert f"{name} leads out of the folder" in _error(folder)


def test_a_link_that_leads_to_itself(folder: Path, tmp_path: Path) -> None:
    """The error names a link that leads to itself. If the folder is one, it does not exist."""
    (folder / "notes").symlink_to("notes")
    assert "notes is a link that leads to itself" in _error(folder)
    (tmp_path / "loop").symlink_to("loop")
    assert "loop: no such folder" in _error(tmp_path / "loop")
    assert ServerConfig(model=(f"x={tmp_path}/loop",)).sources[0].public_location == "loop"


@pytest.mark.parametrize(
    "place", ["~nosuchuser/x", "/" + "x" * 300, "./x\0", "./\ud800"], ids=ascii
)
def test_a_place_that_no_folder_can_have(place: str) -> None:
    """An impossible path is no such folder: an unknown home, a long name, a bad character."""
    config = ServerConfig(model=(f"model={place}",))
    with pytest.raises(CheckpointError, match="no such folder"):
        load_checkpoint(config.sources[0], config)
    assert config.sources[0].public_location


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    """The loader follows links within the folder, as in Kubernetes volumes, and a link to the
    folder.
    """
    (folder / "..data").mkdir()
    (folder / "config.json").rename(folder / "..data" / "config.json")
    (folder / "config.json").symlink_to("..data/config.json")
    folder.with_name("linked").symlink_to(folder)
    _load(folder.with_name("linked"))


def test_a_snapshot_of_the_hubs_cache(folder: Path, tmp_path: Path) -> None:
    """A snapshot of the hub's cache may link to its blobs, and to nothing else."""
    repository = tmp_path / "models--acme--spam"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(repository / "blobs" / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    _load(snapshot)
    (repository / "refs").write_text("main")
    (snapshot / "refs").symlink_to("../../refs")
    assert "refs leads out of the folder" in _error(snapshot)


@pytest.mark.parametrize("shard", ["../elsewhere/model.safetensors", "/dev/null"])
def test_shards_outside_of_the_folder_are_not_read(
    folder: Path, tmp_path: Path, shard: str
) -> None:
    """The loader rejects an index that names files outside of the folder."""
    (tmp_path / "elsewhere").mkdir()
    weights = (folder / "model.safetensors").rename(tmp_path / "elsewhere" / "model.safetensors")
    names = safetensors.torch.load_file(weights)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "leads out of the folder" in _error(folder)


def test_tokenizer_files_are_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """The loader rejects a tokenizer_config.json that names a file outside of the folder, which
    transformers would read and Tokenize would show.
    """
    other = tmp_path / "other.txt"
    other.write_text("a secret")
    path = folder / "tokenizer_config.json"
    own = json.loads(path.read_text())
    own["name_or_path"] = str(tmp_path)
    path.write_text(json.dumps(own))
    _load(folder)
    for named in (
        {"tokenizer_file": str(other)},
        {"vocab": str(other)},
        {"init_inputs": [str(other)]},
    ):
        path.write_text(json.dumps(own | named))
        assert f"names {other}, outside of the checkpoint" in _error(folder)


@pytest.mark.parametrize("key", ["vocab", "vocab_file", "tokenizer_file"])
def test_a_map_of_special_tokens_that_names_a_file(folder: Path, tmp_path: Path, key: str) -> None:
    """The loader rejects it: transformers passes each entry of the map to the tokenizer, which
    would take the file for its vocabulary.
    """
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbook\n")
    secret = tmp_path / "secret.env"
    secret.write_text("user=alice\nbook\n")
    (folder / "special_tokens_map.json").write_text(json.dumps({key: str(secret)}))
    problem = f"its special_tokens_map.json names {secret}, outside of the checkpoint"
    assert problem in _error(folder)


def test_versions_of_a_tokenizer_outside_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """The loader rejects a list of files that leads out of the folder."""
    (tmp_path / "tokenizer.1.0.json").write_text((folder / "tokenizer.json").read_text())
    path = folder / "tokenizer_config.json"
    own = json.loads(path.read_text())
    path.write_text(json.dumps(own | {"fast_tokenizer_files": ["../tokenizer.1.0.json"]}))
    assert "names ../tokenizer.1.0.json, outside of the checkpoint" in _error(folder)
