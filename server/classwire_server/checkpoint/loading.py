"""Loads a checkpoint from a folder or hub id: model, tokenizer, labels, activation, fingerprint.

`transformers` is imported only when a checkpoint is loaded, which happens in worker processes.
"""

import inspect
import json
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from classwire_server.config.model_source import HUB_ID, ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError
from classwire_server.scoring import Activation
from classwire_server.tokenization import Tokenization, Truncation, check_tokenizer

from .adapters import Parts, parts_of
from .fingerprint import fingerprint
from .labels import labels_of
from .path_safety import check_contained
from .problems import check_weights, explain

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FALLBACK_MAX_TOKENS = 512
"""The limit for checkpoints whose tokenizer and config name none."""


class ProblemType(Enum):
    """The task a checkpoint was trained for; the values are those of transformers."""

    SINGLE_LABEL = "single_label_classification"
    MULTI_LABEL = "multi_label_classification"
    REGRESSION = "regression"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint without its weights.

    `tokenizer_json` is its tokenizer in the format of tokenizer.json, `max_tokens` the longest
    encoding it accepts, `uses_token_types` whether it receives token type ids. `labels` are in the
    order of their ids. `revision` is the hub's commit, or empty for a folder. `fingerprint` is 64
    hexadecimal digits.
    """

    name: str
    location: str
    revision: str
    architecture: str
    tokenizer_json: str
    max_tokens: int
    uses_token_types: bool
    labels: tuple[str, ...]
    problem_type: ProblemType
    activation: Activation
    fingerprint: str

    def tokenization(self, default_truncation: Truncation) -> Tokenization:
        """A Tokenization for the checkpoint. Raises ConfigError as Tokenization does."""
        return Tokenization(
            self.tokenizer_json,
            max_tokens=self.max_tokens,
            uses_token_types=self.uses_token_types,
            default_truncation=default_truncation,
        )


def load_checkpoint(
    source: ModelSource, config: ServerConfig
) -> "tuple[Checkpoint, PreTrainedModel]":
    """Load a checkpoint from a folder, the hub's cache or the hub.

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
    parts = Parts(source.location, place, options["revision"])
    try:
        if source.is_folder:
            check_contained(Path(place))
        parts = parts_of(parts, options, config)
        options["revision"] = parts.revision
        raw_config, commit = _raw_config(parts.base, options)
        options["revision"] = commit or options["revision"]  # all files of one commit
        model_config = transformers.AutoConfig.from_pretrained(parts.base, **options)
        labels = parts.labels(model_config, options)
        for key, value in labels.items():
            setattr(model_config, key, value)
        tokenizer = transformers.AutoTokenizer.from_pretrained(parts.tokenizer, **options)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            parts.base,
            dtype="float32",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # the report names them
            use_safetensors=config.safetensors_only or None,
            **labels,
            **options,
        )
        check_weights(parts.completed(report), model, parts.name)
        model = parts.merged_into(model)
    except Exception as error:  # each library above raises its own errors for a bad checkpoint
        raise explain(error, parts.name, parts.base, options, config) from error
    rust_json = check_tokenizer(
        tokenizer, model.get_input_embeddings().num_embeddings, source.location
    )
    problem_type, activation = problem_of(model_config.problem_type, model_config.num_labels)
    takes = inspect.signature(model.forward).parameters
    checkpoint = Checkpoint(
        name=source.name,
        location=source.public_location,
        revision="" if source.is_folder else parts.commit(commit or source.revision),
        architecture=type(model).__name__,
        tokenizer_json=rust_json,
        max_tokens=_max_tokens(model, tokenizer, config),
        uses_token_types="token_type_ids" in tokenizer.model_input_names
        and "token_type_ids" in takes,
        labels=labels_of(model_config, source.location),
        problem_type=problem_type,
        activation=activation,
        fingerprint=fingerprint(
            raw_config | json.loads(json.dumps(labels)), rust_json, model.state_dict()
        ),
    )
    return checkpoint, model.eval()


def locate(source: ModelSource) -> str:
    """A folder's path or a hub id.

    Raises CheckpointError for a file, a folder that the server may not read, and a path without a
    folder.
    """
    path = os.path.expanduser(source.location)
    problem = ""
    if source.is_folder:
        if os.access(path, os.R_OK | os.X_OK):
            return path
        problem = "cannot be read: the server lacks the permission"
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


def _raw_config(location: str, options: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """config.json as stored, and the hub's commit that it belongs to."""
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    options = {key: value for key, value in options.items() if key != "trust_remote_code"}
    path = cached_file(location, "config.json", **options)
    if path is None:
        raise FileNotFoundError("has no config.json")
    config: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return config, extract_commit_hash(path, None)


def _max_tokens(model: Any, tokenizer: Any, config: ServerConfig) -> int:
    limits = [config.max_tokens] if config.max_tokens else []
    if tokenizer.model_max_length < 1 << 24:  # transformers writes 1e30 for "unknown"
        limits.append(tokenizer.model_max_length)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions and positions > 0:
        limits.append(positions - first_position(model))
    return int(min(limits, default=FALLBACK_MAX_TOKENS))


def first_position(model: Any) -> int:
    """The position id of a text's first token: 0, or the padding id plus 1 in RoBERTa models."""
    embeddings: Any = getattr(model.base_model, "embeddings", None)
    if hasattr(embeddings, "create_position_ids_from_input_ids"):
        return int(embeddings.padding_idx) + 1
    return 0
