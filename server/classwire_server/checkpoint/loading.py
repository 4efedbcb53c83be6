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

from classwire_server.config.model_source import ModelSource
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import CheckpointError
from classwire_server.scoring import Activation
from classwire_server.tokenization import Tokenization, Truncation, check_tokenizer

from .fingerprint import fingerprint
from .labels import labels_of
from .path_safety import check_contained, check_tokenizer_config

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
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    location = locate(source)
    if source.is_folder:
        check_contained(Path(location))
    options: dict[str, Any] = {
        "revision": source.revision or None,
        "cache_dir": config.cache_dir or None,
        "local_files_only": config.offline,
        "trust_remote_code": config.trust_remote_code,
    }
    try:
        raw_config, commit = _raw_config(location, options)
        options["revision"] = commit or options["revision"]  # all files of one commit
        check_tokenizer_config(get_tokenizer_config(location, **options), location)
        model_config = transformers.AutoConfig.from_pretrained(location, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(location, **options)
        model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
            location,
            dtype="float32",
            output_loading_info=True,
            use_safetensors=config.safetensors_only or None,
            **options,
        )
    except Exception as error:  # each library below raises its own errors for a bad checkpoint
        if "trust_remote_code" in str(error) and not config.trust_remote_code:
            problem = "it has its own Python code, which runs only with --trust-remote-code"
        else:
            problem = _first_line(error)
        raise CheckpointError(f"{source.location}: {problem}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        names = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        raise CheckpointError(
            f"{source.location}: weights are missing ({names}); "
            "it has no trained sequence-classification head or is incomplete"
        )
    rust_json = check_tokenizer(
        tokenizer, model.get_input_embeddings().num_embeddings, source.location
    )
    problem_type, activation = problem_of(model_config.problem_type, model_config.num_labels)
    takes = inspect.signature(model.forward).parameters
    checkpoint = Checkpoint(
        name=source.name,
        location=source.public_location,
        revision="" if source.is_folder else (commit or source.revision),
        architecture=type(model).__name__,
        tokenizer_json=rust_json,
        max_tokens=_max_tokens(model, tokenizer, config),
        uses_token_types="token_type_ids" in tokenizer.model_input_names
        and "token_type_ids" in takes,
        labels=labels_of(model_config, source.location),
        problem_type=problem_type,
        activation=activation,
        fingerprint=fingerprint(raw_config, rust_json, model.state_dict()),
    )
    return checkpoint, model.eval()


def locate(source: ModelSource) -> str:
    """A folder's path or a hub id. Raises CheckpointError for a path without a folder."""
    if source.is_folder:
        return os.path.expanduser(source.location)
    if _looks_like_a_path(source.location):
        raise CheckpointError(f"{source.location}: no such folder")
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


def _looks_like_a_path(location: str) -> bool:
    return location.startswith((".", "/", "~")) or location.count("/") > 1


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _raw_config(location: str, options: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """config.json as stored, and the hub's commit that it belongs to."""
    from transformers.utils import cached_file
    from transformers.utils.hub import extract_commit_hash

    options = {key: value for key, value in options.items() if key != "trust_remote_code"}
    path = cached_file(location, "config.json", **options)
    if path is None:
        raise CheckpointError(f"{location}: has no config.json")
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
