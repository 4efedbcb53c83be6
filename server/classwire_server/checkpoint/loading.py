"""Loads a checkpoint from a folder or hub id: model, tokenizer, labels, activation, fingerprint.

`transformers` is imported only when a checkpoint is loaded, which happens in worker processes.
"""

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from classwire_server.config.model_source import HUB_ID, ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError
from classwire_server.scoring import Activation
from classwire_server.tokenization import Tokenization, Truncation

from .adapters import CONFIG as ADAPTER_CONFIG
from .adapters import files_of
from .broken_files import no_config
from .checkpoint_files import CheckpointFiles
from .contents import CheckpointContents
from .fingerprint import fingerprint
from .labels import labels_of
from .path_safety import check_contained
from .problems import check_weights, explain
from .token_limit import token_limit
from .tokenizer import SavedTokenizer, describe_tokenizer, save_tokenizer
from .tokenizer_files import check_tokenizer_configs, file_options, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CONFIGS = ("config.json", ADAPTER_CONFIG)
"""A checkpoint has one of them, also as a link."""


class ProblemType(Enum):
    """The task a checkpoint was trained for; the values are those of transformers."""

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"
    REGRESSION = "regression"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint without its weights.

    `max_tokens` is the longest encoding it accepts. `input_names` are the inputs that its tokenizer
    returns and its model takes. `takes_pairs` is false if its model fails on a pair. `labels` are
    in the order of their ids. `revision` is the hub's commit, or empty for a folder. `fingerprint`
    is 64 hexadecimal digits, or empty until it is known.
    """

    name: str
    location: str
    revision: str
    architecture: str
    tokenizer: SavedTokenizer
    max_tokens: int
    input_names: frozenset[str]
    labels: tuple[str, ...]
    problem_type: ProblemType
    activation: Activation
    fingerprint: str
    takes_pairs: bool = True

    def tokenization(self, default_truncation: Truncation) -> Tokenization:
        """A Tokenization for the checkpoint. Raises ConfigError as Tokenization does."""
        return Tokenization(
            self.tokenizer.load(),
            max_tokens=self.max_tokens,
            uses_token_types="token_type_ids" in self.input_names,
            default_truncation=default_truncation,
            takes_pairs=self.takes_pairs,
            known_ids=self.tokenizer.known_ids,
        )


class LoadedCheckpoint(NamedTuple):
    """A checkpoint with its model and tokenizer, as transformers loads them."""

    checkpoint: Checkpoint
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"


@dataclass(frozen=True, eq=False)
class ReadCheckpoint:
    """A checkpoint whose fingerprint is not known yet, as transformers loads it.

    `contents` are its files, None if they could not be listed.
    """

    checkpoint: Checkpoint
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    contents: CheckpointContents | None
    raw_config: Mapping[str, Any]
    describe_tokenizer: Callable[[], Mapping[str, Any]]

    def fingerprint(self) -> str:
        """Compute the fingerprint, which takes about a second for 670 MB.

        For any thread, while the model is on the CPU and nobody changes its weights.
        """
        return fingerprint(self.raw_config, self.describe_tokenizer(), self.model.state_dict())


def load_checkpoint(source: ModelSource, config: ServerConfig) -> LoadedCheckpoint:
    """Load a checkpoint, and compute its fingerprint. Raises as `read_checkpoint` does."""
    read = read_checkpoint(source, config)
    checkpoint = replace(read.checkpoint, fingerprint=read.fingerprint())
    return LoadedCheckpoint(checkpoint, read.model, read.tokenizer)


def read_checkpoint(source: ModelSource, config: ServerConfig) -> ReadCheckpoint:
    """Read a checkpoint from a folder, the hub's cache or the hub.

    The model is in evaluation mode, on the CPU, in float32 whatever the format of its weights.
    Safetensors are preferred; torch's weights-only loader reads `.bin` files, unless the config
    wants safetensors only. Raises CheckpointError, one line, for anything that cannot be served: no
    such folder, a link out of the folder, no sequence-classification head, missing weights, a
    broken tokenizer, unprintable labels.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    place = locate(source)
    options: dict[str, Any] = {
        "revision": source.revision or None,
        "cache_dir": config.cache_dir or None,
        "local_files_only": config.offline,
        "trust_remote_code": config.trust_remote_code,
    }
    files = CheckpointFiles(source.location, place, options["revision"])
    try:
        if source.is_folder:
            check_contained(Path(place))
        files = files_of(files, options, config)
        options["revision"] = files.revision
        config_file, commit = _config_file(files.base, options)
        raw_config: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8"))
        options["revision"] = commit or options["revision"]  # all files of one commit
        contents = _contents(files.folders(config_file.parent), config)
        check_tokenizer_configs(files.tokenizer, options)
        model_config = transformers.AutoConfig.from_pretrained(files.base, **options)
        labels = files.labels(model_config, options)
        for key, value in labels.items():
            setattr(model_config, key, value)
        tokenizer = load_tokenizer(files.tokenizer, options)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            files.base,
            dtype="float32",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them
            use_safetensors=config.safetensors_only or None,
            **labels,
            **options,
        )
        check_weights(files.without_own(report), model, files.name)
        model = files.merged_into(model)
    except Exception as error:  # each library above raises its own errors for a bad checkpoint
        raise explain(error, files.name, files.base, options, config) from error
    saved = save_tokenizer(tokenizer, model, source.location)
    describe = partial(describe_tokenizer, tokenizer, saved, files.tokenizer, options)
    if saved.python is not None:  # the caller may use it on another thread meanwhile
        described = describe()
        describe = partial(dict, described)
    problem_type, activation = problem_of(model_config.problem_type, model_config.num_labels)
    checkpoint = Checkpoint(
        name=source.name,
        location=source.public_location,
        revision="" if source.is_folder else files.commit(commit or source.revision),
        architecture=type(model).__name__,
        tokenizer=saved,
        max_tokens=token_limit(model, tokenizer, config.max_tokens),
        input_names=_input_names(tokenizer, model, source.location),
        labels=labels_of(model_config, source.location),
        problem_type=problem_type,
        activation=activation,
        fingerprint="",
    )
    identified = raw_config | json.loads(json.dumps(labels))
    return ReadCheckpoint(checkpoint, model.eval(), tokenizer, contents, identified, describe)


def _contents(folders: Sequence[Path], config: ServerConfig) -> CheckpointContents | None:
    try:
        return CheckpointContents(folders, safetensors_only=config.safetensors_only)
    except (OSError, CheckpointError):  # what is wrong with a file is reported when it is loaded
        return None


def _input_names(tokenizer: Any, model: Any, location: str) -> frozenset[str]:
    """The names of the inputs that a call of the tokenizer returns and the model takes."""
    names = tokenizer("text").keys() & inspect.signature(model.forward).parameters.keys()
    if unknown := names - {"input_ids", "attention_mask", "token_type_ids"}:
        raise CheckpointError(
            f"{location}: its tokenizer returns inputs that the server does not feed: "
            f"{', '.join(sorted(unknown))}"
        )
    return frozenset(names)


def locate(source: ModelSource) -> str:
    """A folder's path or a hub id.

    Raises CheckpointError for a file, a folder that the server may not read or that has no config,
    and a path without a folder.
    """
    path = os.path.expanduser(source.location)
    problem = ""
    if source.is_folder:
        if not os.access(path, os.R_OK | os.X_OK):
            problem = "cannot be read: the server lacks the permission"
        elif any(os.path.lexists(os.path.join(path, name)) for name in _CONFIGS):
            return path
        else:
            problem = no_config(Path(path))
    elif os.path.exists(path):
        problem = "is a file; name the folder that has it"
    elif not HUB_ID.fullmatch(source.location):
        problem = "no such folder"
    if problem:
        raise CheckpointError(f"{source.location}: {problem}")
    return source.location


def problem_of(problem_type: str | None, labels: int) -> tuple[ProblemType, Activation]:
    """The problem type and activation for a config, by the rule of transformers' pipeline.

    Regression uses identity; multi-label, or a single label, sigmoid; everything else softmax.
    """
    if problem_type == ProblemType.REGRESSION.value:
        return ProblemType.REGRESSION, Activation.IDENTITY
    if problem_type == ProblemType.MULTI_LABEL.value or labels == 1:
        return ProblemType.MULTI_LABEL, Activation.SIGMOID
    return ProblemType.SINGLE_LABEL, Activation.SOFTMAX


def _config_file(location: str, options: dict[str, Any]) -> tuple[Path, str | None]:
    """The path of config.json, and the hub's commit that it belongs to."""
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    path = cached_file(location, "config.json", **file_options(options))
    if path is None:
        raise FileNotFoundError("has no config.json")
    return Path(path), extract_commit_hash(path, None)
