"""Direct use of a checkpoint, with results in the contract's format."""

import hashlib
import inspect
import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

from conformance.limits import MAX_TEXT_BYTES

from .encoding import Json, Token, texts_of, tokens_of, truncated, written
from .fitting import Fit, Reading, longer, read, window
from .problems import Problem, invalid
from .scoring import MAX_SCORE, MEAN_LOGITS, aggregated, aggregation_of, applied, number, ranked

REJECT = "TRUNCATION_REJECT"


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

    def tokens(self, text: Json) -> list[Token]:
        """Return all tokens of a TextInput. Raises Problem if a text is invalid."""
        for field in ("text", "textPair"):
            if field in text or field == "text":
                check(text.get(field, ""), "text_pair" if field == "textPair" else field)
        return tokens_of(self.tokenizer, texts_of(text), has_types=self.has_types)

    def reading(self, text: Json, options: Json) -> Reading:
        """Return what the model sees of a TextInput. Raises Problem if the text is invalid."""
        every = self.tokens(text)
        truncation = options.get("truncation", "TRUNCATION_UNSPECIFIED")
        if truncation == "TRUNCATION_WINDOWS":
            return read(every, longer(every), Fit.of(options, self.max_tokens))
        kept = truncated(every, self.max_tokens, truncation)
        return Reading(longer(every), [tuple(kept)], lost=len(every) - len(kept))

    def logits(self, reading: Reading) -> torch.Tensor:
        """Return the logits of each window: (windows, labels)."""
        return torch.stack([_logits(self, tokens) for tokens in reading.inputs])

    def classification(self, text: Json, options: Json) -> Json:
        """Return the Classification of a TextInput. Raises Problem if it has none."""
        reading = self.reading(text, options)
        is_windowed = len(reading.inputs) > 1
        if is_windowed and options.get("includeTokens"):
            read(self.tokens(text), 0, replace(Fit.of(options, self.max_tokens), truncation=REJECT))
        activation = options.get("activation", "ACTIVATION_UNSPECIFIED")
        if activation == "ACTIVATION_UNSPECIFIED":
            activation = self.activation
        is_multi_label = self.problem_type == "MULTI_LABEL_CLASSIFICATION"
        aggregation = aggregation_of(options, MAX_SCORE if is_multi_label else MEAN_LOGITS)
        of_windows = self.logits(reading)
        logits, scores = aggregated(of_windows, reading.weights, activation, aggregation)
        result: Json = {
            "scores": ranked(self.labels, scores, options),
            "activation": activation,
            "tokenCount": reading.token_count,
            "truncatedTokens": reading.lost,
            "windowCount": len(reading.inputs),
            "aggregation": aggregation if is_windowed else "",
        }
        unit = options.get("offsetUnit", "OFFSET_UNIT_UNSPECIFIED")
        if options.get("includeLogits"):
            result["logits"] = [number(value) for value in logits.tolist()]
        if options.get("includeTokens"):
            result["tokens"] = written(reading.inputs[0], texts_of(text), unit)
        if options.get("includeWindows"):
            result["windows"] = [
                window(tokens, texts_of(text), reading.sequence, unit, [*map(number, row)])
                for tokens, row in zip(
                    reading.inputs, applied(of_windows, activation).tolist(), strict=True
                )
            ]
        return {key: value for key, value in result.items() if value}

    def outcome(self, text: Json, options: Json, path: str) -> Json:
        """Return the Outcome of a TextInput at a path of its message."""
        try:
            return {"classification": self.classification(text, options)}
        except Problem as problem:
            return problem.at(path).outcome()


def check(text: str, field: str, max_bytes: int = MAX_TEXT_BYTES) -> None:
    """Raise Problem if a text is blank or too large."""
    if not text.strip():
        raise invalid("EMPTY_TEXT", field)
    size = len(text.encode())
    if size > max_bytes:
        raise invalid("TEXT_TOO_LARGE", field, bytes=size, max_text_bytes=max_bytes)


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
