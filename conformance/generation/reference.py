"""Direct use of a checkpoint, with results in the contract's format."""

import hashlib
import inspect
import itertools
import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

from conformance.limits import MAX_TEXT_BYTES

from .encoding import Json, Token, texts_of, tokens_of, truncated, written
from .problems import Problem, invalid

LEAST_DISTANCE = 1e-4
"""Least difference that may decide an expected value."""
DIGITS = 7


@dataclass(frozen=True, eq=False)
class Reference:
    """A checkpoint as `transformers` loads it: float32, no padding, one text at a time.

    `constant_logits` replace the model's logits.
    """

    name: str
    folder: Path
    tokenizer: Any
    model: Any
    constant_logits: tuple[float, ...] = ()

    @staticmethod
    def load(name: str, folder: Path) -> "Reference":
        """Load a checkpoint from a folder."""
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        return Reference(name, folder, tokenizer, model.eval())

    @property
    def labels(self) -> list[str]:
        """The labels in the order of their ids."""
        config = self.model.config
        return [config.id2label[index] for index in range(config.num_labels)]

    @property
    def problem_type(self) -> str:
        """The problem type, by transformers' rule."""
        config = self.model.config
        if config.problem_type is None and config.num_labels == 1:
            return "MULTI_LABEL_CLASSIFICATION"
        return str(config.problem_type or "single_label_classification").upper()

    @property
    def activation(self) -> str:
        """The default activation of the problem type."""
        return {
            "REGRESSION": "ACTIVATION_IDENTITY",
            "MULTI_LABEL_CLASSIFICATION": "ACTIVATION_SIGMOID",
            "SINGLE_LABEL_CLASSIFICATION": "ACTIVATION_SOFTMAX",
        }[self.problem_type]

    @property
    def has_types(self) -> bool:
        """Whether the model receives token type ids."""
        takes = inspect.signature(self.model.forward).parameters
        return "token_type_ids" in takes and "token_type_ids" in self.tokenizer.model_input_names

    @property
    def max_tokens(self) -> int:
        """The longest input in tokens; RoBERTa's positions start after its padding position."""
        config = self.model.config
        unused = config.pad_token_id + 1 if config.model_type == "roberta" else 0
        return int(min(config.max_position_embeddings - unused, self.tokenizer.model_max_length))

    @property
    def ref(self) -> Json:
        """The ModelRef in the model's answers."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "precision": "PRECISION_FLOAT32",
            "engine": {"execution": "EXECUTION_PLAIN", "layout": "LAYOUT_PACKED"},
        }

    @property
    def fingerprint(self) -> str:
        """The fingerprint that `Model.fingerprint` defines."""
        return _fingerprint(self)

    def tokens(self, text: Json, truncation: str) -> tuple[list[Token], int]:
        """Return a TextInput's tokens and the number of truncated tokens.

        Raises Problem if the text is invalid.
        """
        for field in ("text", "textPair"):
            if field in text or field == "text":
                _check(text.get(field, ""), "text_pair" if field == "textPair" else field)
        every = tokens_of(self.tokenizer, texts_of(text), has_types=self.has_types)
        kept = truncated(every, self.max_tokens, truncation)
        return kept, len(every) - len(kept)

    def classification(self, text: Json, options: Json) -> Json:
        """Return the Classification of a TextInput. Raises Problem if it has none."""
        tokens, lost = self.tokens(text, options.get("truncation", "TRUNCATION_UNSPECIFIED"))
        logits = _logits(self, tuple(tokens))
        activation = options.get("activation", "ACTIVATION_UNSPECIFIED")
        if activation == "ACTIVATION_UNSPECIFIED":
            activation = self.activation
        result: Json = {
            "scores": ranked(self.labels, applied(logits, activation), options),
            "activation": activation,
            "tokenCount": len(tokens),
            "truncatedTokens": lost,
        }
        if options.get("includeLogits"):
            result["logits"] = [number(value) for value in logits.tolist()]
        if options.get("includeTokens"):
            unit = options.get("offsetUnit", "OFFSET_UNIT_UNSPECIFIED")
            result["tokens"] = written(tokens, texts_of(text), unit)
        return {key: value for key, value in result.items() if value}

    def outcome(self, text: Json, options: Json, path: str) -> Json:
        """Return the Outcome of a TextInput at a path of its message."""
        try:
            return {"classification": self.classification(text, options)}
        except Problem as problem:
            return problem.at(path).outcome()


def applied(logits: torch.Tensor, activation: str) -> list[float]:
    """Return scores from logits, in the order of the label ids."""
    scores: torch.Tensor = {
        "ACTIVATION_SOFTMAX": lambda: logits.softmax(dim=-1),
        "ACTIVATION_SIGMOID": lambda: logits.sigmoid(),
        "ACTIVATION_IDENTITY": lambda: logits,
    }[activation]()
    result: list[float] = scores.tolist()
    return result


def ranked(labels: list[str], scores: list[float], options: Json) -> list[Json]:
    """Return LabelScores, highest first, ties by label id, limited by the options."""
    order = sorted(range(len(scores)), key=lambda label_id: (-scores[label_id], label_id))
    for before, after in itertools.pairwise(order):
        _tell_apart(scores[before], scores[after])
    order = order[: options.get("topK") or None]
    least = float(options.get("minScore", -math.inf))
    for label_id in order:
        _tell_apart(scores[label_id], least)
    messages = [
        {"label": labels[label_id], "labelId": label_id, "score": number(scores[label_id])}
        for label_id in order
        if scores[label_id] >= least
    ]
    return [{key: value for key, value in message.items() if value} for message in messages]


def number(value: float) -> float:
    """Return a float32, rounded so that it is the same on every machine."""
    return float(f"{value:.{DIGITS}g}")


def _tell_apart(one: float, other: float) -> None:
    if one != other and abs(one - other) < LEAST_DISTANCE:
        raise ValueError(f"{one} and {other} are too close: rounding would decide their order")


def _check(text: str, field: str) -> None:
    if not text.strip():
        raise invalid("EMPTY_TEXT", field)
    size = len(text.encode())
    if size > MAX_TEXT_BYTES:
        raise invalid("TEXT_TOO_LARGE", field, bytes=size, max_text_bytes=MAX_TEXT_BYTES)


@cache
@torch.inference_mode()
def _logits(reference: Reference, tokens: tuple[Token, ...]) -> torch.Tensor:
    if reference.constant_logits:
        return torch.tensor(reference.constant_logits)
    inputs = {"input_ids": torch.tensor([[token.id for token in tokens]])}
    if reference.has_types:
        inputs["token_type_ids"] = torch.tensor([[token.token_type_id for token in tokens]])
    logits: torch.Tensor = reference.model(**inputs).logits[0]
    return logits


@cache
def _fingerprint(reference: Reference) -> str:
    config = json.loads((reference.folder / "config.json").read_text("utf-8"))
    tokenizer = json.loads(reference.tokenizer.backend_tokenizer.to_str())
    for document, keys in (
        (config, ("_name_or_path", "transformers_version", "dtype", "torch_dtype")),
        (tokenizer, ("truncation", "padding")),
    ):
        for key in keys:
            document.pop(key, None)
    digest = hashlib.sha256(b"classwire-fingerprint-v1\n")
    for document in (config, tokenizer):
        canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
        digest.update(f"{canonical}\n".encode())
    weights = reference.model.state_dict()
    for name in sorted(weights, key=str.encode):
        shape = "x".join(map(str, weights[name].shape))
        digest.update(f"{name} {shape}\n".encode())
        digest.update(weights[name].numpy().astype("<f4").tobytes())
    return digest.hexdigest()
