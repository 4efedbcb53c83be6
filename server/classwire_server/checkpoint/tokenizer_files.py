"""Reads a tokenizer from a checkpoint's files, and names the file that is missing or broken."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import tokenizers

from .broken_files import unreadable
from .path_safety import TOKENIZER_CONFIGS, check_named_files

_NAMES = ("*token*", "*vocab*", "*merges*", "*.model", "*.codes", "*.spm", "dict.txt")
"""Patterns of the names that tokenizers' files have."""
_MISSING = "has no tokenizer; write one into it with tokenizer.save_pretrained"


def load_tokenizer(location: str, options: Mapping[str, Any]) -> Any:
    """The tokenizer of `transformers` for a folder or hub id, with options of `from_pretrained`.

    Raises ValueError, one line, for a folder without a tokenizer and for a file that is broken, and
    whatever `transformers` raises.
    """
    import transformers

    folder = Path(location)
    files = [
        path for path in sorted(folder.glob("*")) if any(fnmatch(path.name, n) for n in _NAMES)
    ]
    for file in filter(Path.is_file, files):  # some tokenizers take any text for a vocabulary
        if problem := unreadable(file):
            raise ValueError(f"{file.name} {problem}")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
    except Exception as error:
        if folder.is_dir() and (problem := _problem(files)):
            raise ValueError(problem) from error
        raise
    names = tokenizer.vocab_files_names.values()
    if (
        folder.is_dir()
        and names
        and not files
        and not any((folder / name).exists() for name in names)
    ):
        raise ValueError(_MISSING)  # transformers makes one of special tokens alone
    return tokenizer


def check_tokenizer_configs(location: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError if a config of a tokenizer names a file outside of the checkpoint."""
    from transformers.utils import cached_file

    for name in TOKENIZER_CONFIGS:
        try:
            path = cached_file(location, name, **file_options(options))
        except OSError:  # not every tokenizer has both
            continue
        if path is not None:
            config = json.loads(Path(path).read_text(encoding="utf-8"))
            check_named_files(config, location, name)


def vocabulary_files(tokenizer: Any, location: str, options: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that hold a tokenizer's vocabulary, by their names."""
    from transformers.utils import cached_file

    digests = {}
    for name in filter(None, tokenizer.vocab_files_names.values()):
        try:
            path = cached_file(location, name, **file_options(options))
        except OSError:  # not every file is needed
            continue
        if path is not None:
            digests[name] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return digests


def file_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `from_pretrained` that finding a single file takes too."""
    return {key: value for key, value in options.items() if key != "trust_remote_code"}


def _problem(files: Sequence[Path]) -> str:
    """What is wrong with the files of a tokenizer that cannot be loaded; empty if not known."""
    if not files:
        return _MISSING
    for file in files:
        if file.name == "tokenizer.json":
            try:
                tokenizers.Tokenizer.from_file(str(file))
            except Exception as error:  # the library raises nothing more specific
                return f"{file.name} is not a tokenizer ({error})"
    return ""
