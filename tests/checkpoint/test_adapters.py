"""Adapters of PEFT: merged at load with the scores of direct use, or refused by name."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import safetensors.torch
import tokenizers
import torch
import transformers

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.checkpoint.loading import Checkpoint, LoadedCheckpoint, load_checkpoint
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError
from tests.contract.engines import PATIENCE_S

peft = pytest.importorskip("peft", reason="adapters need peft: the extra `adapters`")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

TEXTS = ("I really love this book", "The hotel room was clean but the breakfast was cold", "ok")
LABELS = ("LABEL_0", "LABEL_1", "LABEL_2")

KINDS: dict[str, Callable[..., Any]] = {
    "lora": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4),
    "lora with biases": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4, bias="all"),
    "dora": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4, use_dora=True),
    "rslora on all layers": lambda: peft.LoraConfig(
        task_type="SEQ_CLS", r=4, use_rslora=True, target_modules="all-linear"
    ),
    "pissa": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4, init_lora_weights="pissa"),
    "olora": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4, init_lora_weights="olora"),
    "lora with a pooler": lambda: peft.LoraConfig(
        task_type="SEQ_CLS", r=4, modules_to_save=["pooler"]
    ),
    "lora of embeddings": lambda: peft.LoraConfig(
        task_type="SEQ_CLS", r=4, target_modules=["word_embeddings", "query"]
    ),
    "lora without a task": lambda: peft.LoraConfig(r=4, modules_to_save=["classifier"]),
    "ia3": lambda: peft.IA3Config(task_type="SEQ_CLS"),
    "loha": lambda: peft.LoHaConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"]),
    "lokr": lambda: peft.LoKrConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"]),
    "adalora": lambda: peft.AdaLoraConfig(task_type="SEQ_CLS", init_r=4, total_step=10),
}


def _trained(base: Path, folder: Path, settings: Any, labels: int = 3) -> Path:
    """Write an adapter with random weights, large enough that scores move."""
    torch.manual_seed(7)
    adapted = peft.get_peft_model(_model(base, labels), settings)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    targets = getattr(settings, "target_modules", None) or ()
    adapted.save_pretrained(folder, save_embedding_layers="word_embeddings" in targets)
    return folder


def _model(base: Path, labels: int) -> Any:
    return transformers.AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=labels, ignore_mismatched_sizes=True
    )


def _direct_scores(base: Path, folder: Path, labels: int = 3) -> torch.Tensor:
    """What a user gets from PEFT itself, one text at a time: (texts, labels)."""
    model = peft.PeftModel.from_pretrained(_model(base, labels), folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    with torch.inference_mode():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(rows).softmax(dim=-1)


def _scores(checkpoint: Checkpoint, model: Any) -> torch.Tensor:
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(checkpoint.tokenizer.rust_json)
    )
    with torch.inference_mode():
        rows = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(rows).softmax(dim=-1)


@pytest.fixture
def base(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A base model without a head, in a folder of base models."""
    source = checkpoint("bert")
    folder = tmp_path / "bases" / "bert"
    transformers.BertModel.from_pretrained(source).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """A LoRA adapter with a head of three labels."""
    return _trained(base, tmp_path / "adapter", KINDS["lora"]())


def _load(folder: Path, **settings: Any) -> LoadedCheckpoint:
    bases = str(folder.parent / "bases")
    config = ServerConfig(model=(f"model={folder}",), **{"adapter_bases": bases, **settings})
    return load_checkpoint(config.sources[0], config)


def _error(folder: Path, **settings: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        _load(folder, **settings)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(folder))


def _edit(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_adapter_has_the_scores_of_direct_use(
    base: Path, tmp_path: Path, kind: str
) -> None:
    """Each kind that is merged gives the scores of PeftModel to 1e-5, and an ordinary model."""
    folder = _trained(base, tmp_path / "adapter", KINDS[kind]())
    checkpoint, model, _ = _load(folder)
    expected = _direct_scores(base, folder)
    assert expected.std(dim=0).max() > 0.01
    assert (_scores(checkpoint, model) - expected).abs().max() < 1e-5
    assert checkpoint.labels == LABELS
    assert checkpoint.architecture == "BertForSequenceClassification"
    assert not any("lora" in name or "base_layer" in name for name in model.state_dict())


def test_through_a_server(
    base: Path,
    adapter: Path,
    serve: Callable[..., Any],
    connect: Callable[[str], grpc.Channel],
) -> None:
    """A server serves an adapter under its own name, with the scores of direct use."""
    server = serve(model=(f"stars={adapter}",), adapter_bases=str(base.parent), batch_tokens=512)
    stub = ClassifyServiceStub(connect(server.target))
    request = pb.BatchClassifyRequest(inputs=[pb.TextInput(text=text) for text in TEXTS])
    answer = stub.BatchClassify(request, timeout=PATIENCE_S)
    assert answer.model.name == "stars"
    for outcome, expected in zip(answer.outcomes, _direct_scores(base, adapter), strict=True):
        scores = {each.label_id: each.score for each in outcome.classification.scores}
        assert [scores[n] for n in range(3)] == pytest.approx(expected.tolist(), abs=1e-5)


def test_the_fingerprint_is_that_of_the_merged_weights(adapter: Path, tmp_path: Path) -> None:
    """Another adapter of the same base has another fingerprint; a copy elsewhere has the same."""
    loaded, _, _ = _load(adapter)
    elsewhere = Path(shutil.copytree(adapter, tmp_path / "copy"))
    assert _load(elsewhere)[0].fingerprint == loaded.fingerprint
    changed = safetensors.torch.load_file(elsewhere / "adapter_model.safetensors")
    name = next(name for name in changed if "lora_B" in name)
    changed[name] = changed[name] + 1e-3
    safetensors.torch.save_file(changed, elsewhere / "adapter_model.safetensors")
    assert _load(elsewhere)[0].fingerprint != loaded.fingerprint


def test_labels_and_tokenizer(base: Path, adapter: Path) -> None:
    """A tokenizer and a config.json in the adapter's folder win over those of the base model."""
    plain, _, _ = _load(adapter)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, model_max_length=100)
    tokenizer.save_pretrained(adapter)
    own, _, _ = _load(adapter)
    assert (plain.max_tokens, own.max_tokens) == (512, 100)

    config = transformers.BertConfig.from_pretrained(
        base, id2label={0: "bad", 1: "fair", 2: "good"}, label2id={}
    )
    config.problem_type = "multi_label_classification"
    config.save_pretrained(adapter)
    own, _, _ = _load(adapter)
    assert own.labels == ("bad", "fair", "good")
    assert own.problem_type.value == "multi_label_classification"
    assert own.fingerprint != plain.fingerprint

    config.id2label = {0: "bad", 1: "good"}
    config.save_pretrained(adapter)
    assert "its head has 3 labels, and its config.json 2" in _error(adapter)


def test_the_labels_of_the_base_model(
    checkpoint: Callable[..., Path], base: Path, tmp_path: Path
) -> None:
    """An adapter to a trained classifier keeps its labels, and its head replaces the old one."""
    trained = Path(shutil.copytree(checkpoint("bert"), base.parent / "stars"))
    folder = _trained(trained, tmp_path / "adapter", KINDS["lora"](), labels=5)
    loaded, model, _ = _load(folder)
    assert loaded.labels[0] == "1 star"
    expected = _direct_scores(trained, folder, labels=5)
    assert (_scores(loaded, model) - expected).abs().max() < 1e-5
    other = _trained(trained, tmp_path / "three", KINDS["lora"]())
    assert _load(other)[0].labels == LABELS


def test_pickled_weights(base: Path, adapter: Path) -> None:
    """adapter_model.bin is read as weights only, and not at all with safetensors_only."""
    before, _, _ = _load(adapter)
    weights = safetensors.torch.load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(weights, adapter / "adapter_model.bin")
    assert _load(adapter)[0].fingerprint == before.fingerprint
    assert "--safetensors-only rejects" in _error(adapter, safetensors_only=True)
    (adapter / "adapter_model.bin").write_bytes(b"")
    assert "adapter_model.bin is damaged" in _error(adapter)


def test_a_base_model_from_the_hubs_cache(base: Path, adapter: Path, tmp_path: Path) -> None:
    """A base model by hub id is read from the hub's cache, also offline."""
    commit = "c" * 40
    repository = tmp_path / "cache" / "models--acme--base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(base, repository / "snapshots" / commit)
    before, _, _ = _load(adapter)
    _edit(adapter, base_model_name_or_path="acme/base")
    settings = {"offline": True, "adapter_bases": "", "cache_dir": str(tmp_path / "cache")}
    assert _load(adapter, **settings)[0].fingerprint == before.fingerprint
    _edit(adapter, base_model_name_or_path="acme/other")
    error = _error(adapter, **settings)
    assert error.startswith(", an adapter to acme/other: no such folder, and the hub's cache")


def test_an_adapter_from_the_hubs_cache(base: Path, adapter: Path, tmp_path: Path) -> None:
    """An adapter by hub id is merged as one in a folder; its commit is the revision."""
    commit = "d" * 40
    repository = tmp_path / "cache" / "models--acme--adapter"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    before, _, _ = _load(adapter)
    shutil.copytree(adapter, repository / "snapshots" / commit)
    config = ServerConfig(
        model=("acme/adapter",),
        offline=True,
        cache_dir=str(tmp_path / "cache"),
        adapter_bases=str(base.parent),
    )
    loaded, *_ = load_checkpoint(config.sources[0], config)
    assert loaded.fingerprint == before.fingerprint
    assert (loaded.location, loaded.revision) == ("acme/adapter", commit)


def test_base_models_outside_of_the_allowed_folders(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base model's folder counts only in the adapter's folder or in adapter_bases."""
    assert "lies outside of its folder; --adapter-bases" in _error(adapter, adapter_bases="")
    monkeypatch.chdir(tmp_path / "bases")
    _edit(adapter, base_model_name_or_path="bert")  # a folder here, and also a legal hub id
    assert "lies outside of its folder" in _error(adapter, adapter_bases="")
    _edit(adapter, base_model_name_or_path="../bases/bert")
    assert "lies outside of its folder" in _error(adapter, adapter_bases="")
    _load(adapter)
    shutil.copytree(base, adapter / "base")
    _edit(adapter, base_model_name_or_path="base")
    _load(adapter, adapter_bases="")
    (base.parent / "link").symlink_to(tmp_path)
    _edit(adapter, base_model_name_or_path=str(base.parent / "link"))
    assert "lies outside of its folder" in _error(adapter)
    (base / "vocab.txt").unlink(missing_ok=True)
    (base / "vocab.txt").symlink_to("/etc/hostname")
    _edit(adapter, base_model_name_or_path=str(base))
    assert "vocab.txt leads out of the folder" in _error(adapter)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("/nowhere/at/all", "its base model /nowhere/at/all: no such folder"),
        (None, "names no base model"),
        ("", "names no base model"),
        (7, "names no base model"),
        (".", "is an adapter itself"),
        ("adapter_config.json", "its base model adapter_config.json: no such folder"),
        ("bad\0name", "no such folder"),
    ],
)
def test_bad_base_models(adapter: Path, named: Any, problem: str) -> None:
    """The loader names a base model that does not exist, or is none."""
    _edit(adapter, base_model_name_or_path=named)
    assert problem in _error(adapter)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "is an adapter of the kind PROMPT_TUNING"),
        ({"peft_type": "XLORA"}, "is an adapter of the kind XLORA"),
        ({"peft_type": None}, "is an adapter of the kind None"),
        ({"task_type": "CAUSAL_LM"}, "is an adapter for CAUSAL_LM"),
        ({"megatron_config": {"a": 1}}, "is an adapter for Megatron"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "is an adapter that replicates layers"),
    ],
)
def test_adapters_that_cannot_be_merged(
    adapter: Path, changes: dict[str, Any], problem: str
) -> None:
    """The loader refuses other kinds and tasks by name."""
    _edit(adapter, **changes)
    assert problem in _error(adapter)


def test_real_prompt_tuning(base: Path, tmp_path: Path) -> None:
    """Prompt tuning changes the input, and is refused by name."""
    settings = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=4)
    folder = _trained(base, tmp_path / "adapter", settings)
    assert "kind PROMPT_TUNING, which cannot be merged" in _error(folder)


def test_a_quantised_base_model(base: Path, adapter: Path) -> None:
    """An adapter is not merged into quantised weights."""
    config = json.loads((base / "config.json").read_text())
    quantised = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (base / "config.json").write_text(json.dumps(config | {"quantization_config": quantised}))
    assert "its base model is quantised (bitsandbytes)" in _error(adapter)


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ("electra", "the adapter lacks classifier.dense.weight"),
        ("minilm", "size mismatch for "),
        ("distilbert", "No modules were targeted"),
    ],
)
def test_an_adapter_of_another_model(
    checkpoint: Callable[..., Path], base: Path, adapter: Path, architecture: str, problem: str
) -> None:
    """The loader tells why an adapter does not fit its base model."""
    other = Path(shutil.copytree(checkpoint(architecture), base.parent / architecture))
    _edit(adapter, base_model_name_or_path=str(other))
    assert f"cannot merge it into its base model: {problem}" in _error(adapter)


def test_missing_weights_of_an_adapter(adapter: Path) -> None:
    """The loader names weights that the adapter lacks, of its layers and of its head."""
    path = adapter / "adapter_model.safetensors"
    whole = safetensors.torch.load_file(path)
    for part in ("lora_B", "classifier.weight"):
        removed = next(name for name in whole if part in name)
        rest = {name: weights for name, weights in whole.items() if name != removed}
        safetensors.torch.save_file(rest, path)
        assert part in _error(adapter)
    path.write_bytes(path.read_bytes()[:-10])
    assert "adapter_model.safetensors is damaged or cut off" in _error(adapter)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "adapter_model.safetensors is a Git LFS pointer" in _error(adapter)
    path.unlink()
    assert "is an adapter without adapter_model.safetensors" in _error(adapter)


def test_an_adapter_next_to_whole_weights(base: Path, adapter: Path) -> None:
    """A folder that is both an adapter and a checkpoint is neither."""
    shutil.copy(base / "model.safetensors", adapter)
    assert "adapter_config.json and also model.safetensors" in _error(adapter)


def test_a_broken_adapter_config(adapter: Path) -> None:
    """The loader names the file that is not JSON."""
    (adapter / "adapter_config.json").write_text("{")
    assert "adapter_config.json is not JSON" in _error(adapter)


def test_without_peft(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PEFT the loader names the extra to install."""
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "needs peft: pip install 'classwire-server[adapters]'" in _error(adapter)
