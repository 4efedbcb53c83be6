"""Adapters: what PEFT trained next to a base model, merged into its weights at load.

A merged adapter is a checkpoint of its own: nothing after the loader knows that it was one.
"""

import importlib.util
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError, telling_line

from .broken_files import damage, pickle_problems, texts_broken_in, weights_in
from .checkpoint_files import CheckpointFiles
from .path_safety import base_of
from .tokenizer_files import file_options

CONFIG = "adapter_config.json"
KINDS = ("ADALORA", "IA3", "LOHA", "LOKR", "LORA")
"""The values of `peft_type` whose adapters can be merged. Others change the input instead of the
weights, or read further files.
"""

_SAFETENSORS, _PICKLE = "adapter_model.safetensors", "adapter_model.bin"
_FILES = ("*.json", "*.txt", "*.model", _SAFETENSORS, _PICKLE)
_PREFIX = "base_model.model."
_NAME = "default"
_COPIES = {"modules_to_save", "original_module"}
"""Parts of the names under which `bias="all"` stores the head a second time."""


@dataclass(frozen=True, eq=False)
class Adapter(CheckpointFiles):
    """An adapter that has been read and not merged yet; `base` and `revision` are its base model's.

    `folder` is on this machine, and `weights` are by name.
    """

    folder: Path
    weights: Mapping[str, Any]

    @property
    def tokenizer(self) -> str:
        """The adapter's own folder if it has a tokenizer, else the base model."""
        has_one = any((self.folder / f"tokenizer{end}.json").is_file() for end in ("", "_config"))
        return str(self.folder) if has_one else self.base

    def folders(self, base: Path) -> Sequence[Path]:
        """The folders of the base model and of the adapter."""
        return (base, self.folder)

    def commit(self, commit: str) -> str:
        """The commit of the adapter, by which the hub's cache names its folder."""
        return self.folder.name

    def labels(self, config: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a config.json in the adapter's folder.

        Without one, a head with another number of labels than the base model has numbers for names,
        as in transformers. Raises CheckpointError if the head does not fit config.json.
        """
        import transformers

        if quantised := getattr(config, "quantization_config", None):
            kind = quantised.get("quant_method", "of an unknown kind")
            raise CheckpointError(
                f"{self.name}: its base model is quantised ({kind}), and an adapter is merged into "
                "plain weights only"
            )
        rows = self._head_rows(options)
        if (self.folder / "config.json").is_file():
            own = transformers.AutoConfig.from_pretrained(self.folder)
            if rows not in (None, own.num_labels):
                raise CheckpointError(
                    f"{self.name}: its head has {rows} labels, and its config.json {own.num_labels}"
                )
            return {key: getattr(own, key) for key in ("id2label", "label2id", "problem_type")}
        if rows is None:
            return {}
        names = {number: f"LABEL_{number}" for number in range(rows)}
        return {"id2label": names, "label2id": {name: number for number, name in names.items()}}

    def without_own(self, report: Mapping[str, Any]) -> Mapping[str, Any]:
        """The base model may lack what the adapter brings, such as the head."""
        own = {name.removeprefix(_PREFIX) for name in self.weights}
        return {
            **report,
            "missing_keys": set(report["missing_keys"]) - own,
            "mismatched_keys": [each for each in report["mismatched_keys"] if each[0] not in own],
        }

    def merged_into(self, model: Any) -> Any:
        """The base model with the adapter in its weights. Raises CheckpointError."""
        import peft

        try:
            with warnings.catch_warnings(action="ignore"):  # about peft's own use of transformers
                settings = peft.PeftConfig.from_pretrained(str(self.folder))
                adapted = peft.get_peft_model(model, settings)
                found: Any = peft.set_peft_model_state_dict(adapted, dict(self.weights))
            own = [name for name in found.missing_keys if _NAME in name.split(".")]
            missing = [name for name in own if "ranknum" not in name]  # AdaLoRA never stores it
            unknown = [n for n in found.unexpected_keys if not _COPIES & set(n.split("."))]
            problem = ""
            if unknown:
                problem = f"it has no {unknown[0].removeprefix(_PREFIX)}"
            elif missing:
                problem = f"the adapter lacks {missing[0].removeprefix(_PREFIX)}"
            else:
                model = adapted.merge_and_unload()
        except KeyError as error:
            problem = f"the adapter lacks {str(error.args[0]).removeprefix(_PREFIX)}"
        except Exception as error:  # peft raises errors of many types
            problem = telling_line(error)
        if problem:
            raise CheckpointError(
                f"{self.name}: the server cannot merge it into its base model: {problem}"
            )
        return model

    def _head_rows(self, options: Mapping[str, Any]) -> int | None:
        """The number of labels of the adapter's own head; None if it fits the base model's."""
        import transformers

        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            self.base, device_map="meta", ignore_mismatched_sizes=True, **options
        )
        shapes = {name: weights.shape for name, weights in model.state_dict().items()}
        for name, weights in self.weights.items():
            shape = shapes.get(name.removeprefix(_PREFIX), weights.shape)
            if shape != weights.shape:
                return int(weights.shape[0])
        return None


def files_of(
    files: CheckpointFiles, options: Mapping[str, Any], config: ServerConfig
) -> CheckpointFiles:
    """The files of a checkpoint, which may be an adapter in the folder or hub id `files.base`.

    `options` are those of transformers for reading from the hub. Raises CheckpointError for an
    adapter that cannot be merged.
    """
    folder = _folder_of(files.base, options)
    if folder is None:
        return files
    problem = next(texts_broken_in(folder), "")
    if not problem:
        said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        problem = next(_problems(folder, said, config), "")
    if problem:
        raise CheckpointError(f"{files.name}: {problem}")
    named, revision = said.get("base_model_name_or_path"), said.get("revision")
    base = base_of(files.name, folder, named, config.adapter_bases)
    with suppress(OSError):  # a base model that cannot be read is reported when it is loaded
        if _folder_of(base, {**options, "revision": revision}) is not None:
            raise CheckpointError(f"{files.name}: its base model {named} is an adapter itself")
    name = f"{files.name}, an adapter to {named}"
    return Adapter(name, base, revision, folder, _weights(folder))


def _folder_of(place: str, options: Mapping[str, Any]) -> Path | None:
    """The folder on this machine of an adapter's files; None if it is no adapter."""
    from huggingface_hub import snapshot_download
    from transformers.utils import find_adapter_config_file

    options = file_options(options)
    if find_adapter_config_file(place, **options) is None:
        return None
    if Path(place).is_dir():
        return Path(place)
    return Path(snapshot_download(place, allow_patterns=[*_FILES], **options))


def _problems(folder: Path, said: Mapping[str, Any], config: ServerConfig) -> Iterator[str]:
    """Yield why the adapter with these settings cannot be merged."""
    kind, task = said.get("peft_type"), said.get("task_type")
    if kind not in KINDS:
        yield f"is an adapter of the kind {kind}, which cannot be merged; {', '.join(KINDS)} can"
    if task not in (None, "SEQ_CLS"):
        yield f"is an adapter for {task}, not for sequence classification (SEQ_CLS)"
    if said.get("megatron_config"):  # peft would import the module that the adapter names
        yield "is an adapter for Megatron, which cannot be merged"
    if said.get("layer_replication"):  # the copies of a layer share its weights
        yield "is an adapter that replicates layers, which cannot be merged"
    if importlib.util.find_spec("peft") is None:
        yield "is an adapter, which needs peft: pip install 'classwire-server[adapters]'"
    if whole := weights_in(folder):
        yield f"has {CONFIG} and also {whole[0].name}: an adapter has no weights of its base model"
    weights = _weights_file(folder)
    if not weights.is_file():
        yield f"is an adapter without {_SAFETENSORS}"
    elif config.safetensors_only and weights.name == _PICKLE:
        yield f"its weights are {_PICKLE}, which --safetensors-only rejects"
    yield from damage(weights)
    try:
        _weights(folder)
    except Exception as error:  # torch raises errors of many types
        yield from pickle_problems(weights, error)
        yield f"{weights.name} cannot be read: {telling_line(error)}"


def _weights_file(folder: Path) -> Path:
    has_pickle = not (folder / _SAFETENSORS).is_file() and (folder / _PICKLE).is_file()
    return folder / (_PICKLE if has_pickle else _SAFETENSORS)


def _weights(folder: Path) -> dict[str, Any]:
    import peft

    weights: dict[str, Any] = peft.load_peft_weights(str(folder), device="cpu")
    return weights
