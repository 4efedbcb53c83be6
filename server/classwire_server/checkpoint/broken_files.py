"""Finds what is wrong with the files of a folder that could not be loaded."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import telling_line

from .path_safety import shards

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
OTHER_WEIGHTS = {".bin", ".gguf", ".h5", ".msgpack", ".onnx", ".pt", ".pth", ".safetensors"}
_JSON_FILES = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "adapter_config.json"),
    *("model.safetensors.index.json", "pytorch_model.bin.index.json"),
)
_TOKENIZER_FILES = ("*.model", "vocab.txt", "merges.txt")
_PICKLED_CODE = re.compile(r"GLOBAL (\S+)")


def problems_in(folder: Path, error: Exception, config: ServerConfig) -> Iterator[str]:
    """Yield what is wrong with a folder whose loading ended with `error`, the likely cause first.

    Reads only files that the loader reads, since others may be broken without effect.
    """
    if (folder / "adapter_config.json").is_file():
        return
    if not (folder / "config.json").is_file():
        yield no_config(folder)
        return
    weights = weights_in(folder, config.safetensors_only)
    yield from texts_broken_in(folder)
    yield from _in_config(folder)
    yield from _in_weights(folder, weights, error, config)


def no_config(folder: Path) -> str:
    """What is wrong with a folder without a config.json."""
    if not any(folder.iterdir()):
        return "the folder is empty"
    return f"has no config.json, which save_pretrained writes{_newest_checkpoint(folder)}"


def texts_broken_in(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the files of config and tokenizer, those of an adapter included."""
    paths = [folder / name for name in _JSON_FILES]
    for pattern in _TOKENIZER_FILES:
        paths += sorted(folder.glob(pattern))
    for path in filter(Path.is_file, paths):
        if problem := unreadable(path) or (path.suffix == ".json" and _not_json(path)):
            yield f"{path.name} {problem}"


def unreadable(path: Path) -> str:
    """What is wrong with a file of any format, after its name; empty if nothing is."""
    if not os.access(path, os.R_OK):
        return "cannot be read: the server lacks the permission"
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            return "is a Git LFS pointer, not the file itself: run git lfs pull in the folder"
    return ""


def _not_json(path: Path) -> str:
    try:
        if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
            return "is not a JSON object"
    except UnicodeDecodeError as error:
        return f"is not JSON: byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        return f"is not JSON: {error.msg}, line {error.lineno}, column {error.colno}"
    except RecursionError:
        return "is not JSON that can be read: it is nested too deeply"
    return ""


def _newest_checkpoint(folder: Path) -> str:
    """A hint at the newest checkpoint in the output folder of a training; empty without one."""
    steps = [
        int(number)
        for path in folder.iterdir()
        if path.is_dir() and (number := path.name.removeprefix("checkpoint-")).isdecimal()
    ]
    if not steps:
        return ""
    newest = folder / f"checkpoint-{max(steps)}"
    return f"; it is the output of a training, and its newest checkpoint is {newest}"


def weights_in(folder: Path, safetensors_only: bool = False) -> list[Path]:
    """The weight files that are read, by the order in which transformers looks for them."""
    for name in _SAFETENSORS if safetensors_only else (*_SAFETENSORS, *_PICKLES):
        path = folder / name
        if path.is_file():
            return list(shards(path)) if path.suffix == ".json" else [path]
    return []


def _in_config(folder: Path) -> Iterator[str]:
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as CLASSIFIERS,
    )

    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    labels = said.get("id2label") or {}
    if not isinstance(labels, dict) or not all(key.strip().isdecimal() for key in labels):
        yield "its id2label is not a map of ids to labels"
    if "auto_map" in said:  # the checkpoint has code of its own
        return
    model_type = said.get("model_type")
    if not model_type:
        yield "its config.json has no model_type"
    elif model_type not in transformers.CONFIG_MAPPING:
        yield f"transformers {transformers.__version__} does not know its model type {model_type}"
    elif model_type not in CLASSIFIERS:
        yield f"transformers has no sequence classification for its model type {model_type}"


def _in_weights(
    folder: Path, weights: list[Path], error: Exception, config: ServerConfig
) -> Iterator[str]:
    if not weights:
        if config.safetensors_only and (pickles := weights_in(folder)):
            yield f"its weights are {pickles[0].name}, which --safetensors-only rejects"
        others = sorted(path.name for path in folder.iterdir() if path.suffix in OTHER_WEIGHTS)
        found = f" (it has {', '.join(others[:3])})" if others else ""
        hint = _newest_checkpoint(folder)
        yield f"has no weights, model.safetensors or pytorch_model.bin{found}{hint}"
    for path in weights:
        if not path.is_file():
            yield f"{path.name} is missing, which the index of its weights names"
            continue
        yield from damage(path)
        if path.suffix != ".safetensors":
            yield from pickle_problems(path, error)


def damage(path: Path) -> Iterator[str]:
    """Yield what is wrong with a file of weights, as far as that shows before it is loaded."""
    from safetensors import SafetensorError, safe_open

    if problem := unreadable(path):
        yield f"{path.name} {problem}"
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            yield f"{path.name} is damaged or cut off: {telling_line(error)}"


def pickle_problems(path: Path, error: Exception) -> Iterator[str]:
    """Yield what is wrong with a file of torch.save, if that is what the error is about."""
    is_refused = type(error).__name__ == "UnpicklingError"  # no module here imports pickle
    if is_refused and (code := _PICKLED_CODE.search(str(error))):
        yield (
            f"{path.name} holds Python code ({code[1]}), which the server never runs; "
            "save the weights as safetensors"
        )
    elif is_refused or isinstance(error, EOFError) or "PytorchStreamReader" in str(error):
        yield f"{path.name} is damaged, cut off or no file of torch.save"
