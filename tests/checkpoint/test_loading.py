"""Loading checkpoints: what is taken, what is refused in one clear line, and what is never run."""

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
    checkpoint, _ = load_checkpoint(config.sources[0], config)
    return checkpoint


def _refusal(folder: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as refusal:
        _load(folder, **settings)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.fixture
def folder(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a tiny BERT, for one test to spoil."""
    return Path(shutil.copytree(checkpoint("bert"), tmp_path / "bert"))


def _edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    return dict(model.state_dict())


def test_no_such_folder(tmp_path: Path) -> None:
    """A path that does not exist is said so, and is not looked up on the hub."""
    assert "no such folder" in _refusal(tmp_path / "nowhere" / "at-all")


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    """A folder without config.json is refused."""
    assert "config.json" in _refusal(tmp_path)


def test_no_weights(folder: Path) -> None:
    """A folder without weights is refused."""
    (folder / "model.safetensors").unlink()
    assert "model.safetensors" in _refusal(folder)


def test_no_sequence_classification_head(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """A masked-language model would get a random head; it is refused."""
    source = checkpoint("bert")
    config = transformers.BertConfig.from_pretrained(source)
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    refusal = _refusal(tmp_path)
    assert "no trained sequence-classification head" in refusal
    assert "classifier.bias" in refusal


def test_missing_weights(folder: Path) -> None:
    """A layer that is not in the file would be random; it is refused by name."""
    weights = _weights(folder)
    removed = "bert.encoder.layer.1.output.dense.weight"
    del weights[removed]
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(folder, state_dict=weights)
    assert removed in _refusal(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    """Weights that don't fit the config are refused."""
    _edit_config(folder, intermediate_size=128)
    _refusal(folder)


def test_labels_that_leave_an_id_out(folder: Path) -> None:
    """An id2label that does not start at 0 names no label for some score; it is refused."""
    _edit_config(folder, id2label={str(n): f"{n} stars" for n in range(1, 6)}, label2id={})
    assert "id2label has no label 0" in _refusal(folder)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (1, "is not a text"),
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
def test_labels_that_nobody_can_be_shown(folder: Path, label: Any, said: str) -> None:
    """Each goes to every caller, and to terminals and logs of theirs; the wrong one is named."""
    labels = {str(n): f"{n} stars" for n in range(5)} | {"3": label}
    _edit_config(folder, id2label=labels, label2id={})
    assert f"{folder}: label 3 of its id2label {said}" in _refusal(folder)


def test_the_longest_labels(folder: Path, checkpoint: Callable[..., Path]) -> None:
    """One of 1,024 bytes is taken, whatever it says; all of a model have a bound of their own."""
    longest = {str(n): f"{n}{'é' * 511}!" for n in range(5)}
    _edit_config(folder, id2label=longest, label2id={})
    assert _load(folder).labels == tuple(longest.values())
    many = checkpoint("bert", labels=tuple(f"{n:01024}" for n in range(1_954)))
    assert "larger than 2,000,000 bytes together" in _refusal(many)


def test_an_architecture_that_classifies_nothing(folder: Path) -> None:
    """A model type without sequence classification is refused."""
    _edit_config(folder, model_type="vit", architectures=["ViTModel"])
    _refusal(folder)


def test_a_tokenizer_with_more_tokens_than_the_model(folder: Path) -> None:
    """Ids outside of the embedding table would end in a crash on some text; they are refused."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<brand-new>"])
    tokenizer.save_pretrained(folder)
    assert "ids that its model does not know" in _refusal(folder)


def test_a_tokenizer_that_knows_no_word(folder: Path) -> None:
    """A vocabulary of special tokens alone makes every text unknown; it is refused."""
    for file in ("tokenizer.json", "vocab.txt"):
        (folder / file).unlink(missing_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join(special))
    assert "its tokenizer is broken" in _refusal(folder)


def test_no_tokenizer(folder: Path) -> None:
    """A checkpoint without any tokenizer file is refused."""
    for file in folder.iterdir():
        if file.name not in {"config.json", "model.safetensors"}:
            file.unlink()
    _refusal(folder)


def test_logits_that_are_not_finite(folder: Path, serve: Callable[..., Any]) -> None:
    """Weights that give NaN are refused at start, not served."""
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(CheckpointError, match="not finite"):
        serve(model=(f"model={folder}",))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_are_taken_to_float32(checkpoint: Callable[..., Path], dtype: torch.dtype) -> None:
    """Whatever the weights were stored in, the model is float32."""
    config = ServerConfig(model=(f"model={checkpoint('bert', dtype=dtype)}",))
    _, model = load_checkpoint(config.sources[0], config)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def test_bin_weights_load(folder: Path) -> None:
    """pytorch_model.bin is read, and gives what safetensors gave."""
    before = _load(folder).fingerprint
    torch.save(_weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert _load(folder).fingerprint == before


class _Touch:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_is_never_run(folder: Path, tmp_path: Path) -> None:
    """A .bin that is more than weights is refused, and what it would run is not run."""
    trap = tmp_path / "trap"
    torch.save({"classifier.bias": _Touch(trap)}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    _refusal(folder)
    assert not trap.exists()


def test_remote_code_is_run_only_when_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python that comes with a checkpoint runs with trust_remote_code, and not without it."""
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
    assert "--trust-remote-code" in _refusal(folder)
    assert not ran.exists()
    assert _load(folder, trust_remote_code=True).architecture == "OwnModel"
    assert ran.exists()


def test_the_fingerprint_is_of_what_the_numbers_depend_on(
    checkpoint: Callable[..., Path], folder: Path, tmp_path: Path
) -> None:
    """Another place changes nothing; another weight, label or word does."""
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
    """The same values stored as float16 and as float32 are the same checkpoint."""
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
    """The most tokens are what tokenizer and positions allow, or the setting when that is less."""
    folder = checkpoint(architecture)
    assert _load(folder).max_tokens == max_tokens
    assert _load(folder, max_tokens=100).max_tokens == 100
    assert _load(folder, max_tokens=10_000).max_tokens == max_tokens


def test_max_tokens_from_positions_alone(folder: Path) -> None:
    """A tokenizer that names no limit leaves it to the positions of the model."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["model_max_length"] = int(1e30)
    path.write_text(json.dumps(config))
    assert _load(folder).max_tokens == 512


def test_safetensors_only(folder: Path) -> None:
    """On demand weights in any other form are not even looked at."""
    _load(folder, safetensors_only=True)
    torch.save(_weights(folder), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "no file named model.safetensors" in _refusal(folder, safetensors_only=True)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "notes/more.txt"]
)
def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """Whatever it is for: a checkpoint cannot have the server read files of others."""
    link = folder / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    (tmp_path / "secret").write_text("of others")
    link.symlink_to("../" * len(Path(name).parts) + "secret")
    assert f"{name} leads out of the folder" in _refusal(folder)


def test_a_link_that_leads_to_itself(folder: Path, tmp_path: Path) -> None:
    """Is named; and where the folder itself is one, there is no such folder."""
    (folder / "notes").symlink_to("notes")
    assert "notes is a link that leads to itself" in _refusal(folder)
    (tmp_path / "loop").symlink_to("loop")
    assert "loop: no such folder" in _refusal(tmp_path / "loop")
    assert ServerConfig(model=(f"x={tmp_path}/loop",)).sources[0].public_location == "loop"


@pytest.mark.parametrize(
    "place", ["~nosuchuser/x", "/" + "x" * 300, "./x\0", "./\ud800"], ids=ascii
)
def test_a_place_that_no_folder_can_have(place: str) -> None:
    """A home that nobody has, a name that is too long or none of a file's: no such folder."""
    config = ServerConfig(model=(f"model={place}",))
    with pytest.raises(CheckpointError, match="no such folder"):
        load_checkpoint(config.sources[0], config)
    assert config.sources[0].public_location


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    """As volumes of Kubernetes have them; and so is a link to the folder itself."""
    (folder / "..data").mkdir()
    (folder / "config.json").rename(folder / "..data" / "config.json")
    (folder / "config.json").symlink_to("..data/config.json")
    folder.with_name("linked").symlink_to(folder)
    _load(folder.with_name("linked"))


def test_a_snapshot_of_the_hubs_cache_is_taken(folder: Path, tmp_path: Path) -> None:
    """Its files are links to the blobs beside it, and to nothing further."""
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
    assert "refs leads out of the folder" in _refusal(snapshot)


@pytest.mark.parametrize("shard", ["../elsewhere/model.safetensors", "/dev/null"])
def test_shards_outside_of_the_folder_are_not_read(
    folder: Path, tmp_path: Path, shard: str
) -> None:
    """An index names files of its own folder, and no others."""
    (tmp_path / "elsewhere").mkdir()
    weights = (folder / "model.safetensors").rename(tmp_path / "elsewhere" / "model.safetensors")
    names = safetensors.torch.load_file(weights)
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "leads out of the folder" in _refusal(folder)


def test_tokenizer_files_are_those_of_the_folder(folder: Path, tmp_path: Path) -> None:
    """What tokenizer_config.json says of other places is not followed."""
    before = _load(folder).tokenizer_json
    other = tmp_path / "other.json"
    other.write_text("{}")
    path = folder / "tokenizer_config.json"
    names = dict.fromkeys(("tokenizer_file", "vocab_file", "name_or_path"), str(other))
    path.write_text(json.dumps(json.loads(path.read_text()) | names))
    assert _load(folder).tokenizer_json == before


def test_an_adapter_is_refused(folder: Path) -> None:
    """It would lead to another checkpoint."""
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    assert "is an adapter" in _refusal(folder)
