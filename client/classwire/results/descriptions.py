"""Descriptions of a server and its models, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field

from .display import Result


@dataclass(frozen=True, slots=True, repr=False)
class Deviation(Result):
    """How far this engine's scores are from direct use or float32.

    Attributes:
        texts: Number of texts that were compared.
        label_agreement: Share of them with the same best label, 0 to 1.
        max_score_difference: Largest difference of a score.
    """

    texts: int
    label_agreement: float
    max_score_difference: float


@dataclass(frozen=True, slots=True, repr=False)
class ModelLimits(Result):
    """The limits of calls to one model.

    Attributes:
        max_texts_per_call: Texts of one batch.
        max_texts_per_call_with_tokens: The same, with `include_tokens`.
        max_text_bytes: Bytes of UTF-8 of a text.
        stream_window_items: Items of a stream without a result.
        stream_items_per_message: Items of one message of a stream.
        max_windows_per_text: Windows of a text. The limits of windows are None from a server that
            is too old for them.
        max_windows_per_call: Windows of a call; a text that fits counts as one.
        max_texts_per_call_with_windows: Texts of one batch, with `include_windows`.
    """

    max_texts_per_call: int
    max_texts_per_call_with_tokens: int
    max_text_bytes: int
    stream_window_items: int
    stream_items_per_message: int
    max_windows_per_text: int | None = None
    max_windows_per_call: int | None = None
    max_texts_per_call_with_windows: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Model(Result):
    """A model of the server. What the server does not know before the model is loaded is None.

    Attributes:
        name: Its name, for the argument `model` of calls.
        is_default: Whether it answers calls that name no model.
        state: loading, ready or failed.
        failure: Why it failed.
        checkpoint: The checkpoint's name or folder.
        revision: The checkpoint's revision, if it was given one.
        architecture: The class of transformers.
        labels: In the order of their ids; empty before the model is loaded.
        problem_type: single_label_classification, multi_label_classification or regression.
        activation: The activation of calls that name none: softmax, sigmoid or identity.
        max_tokens: Maximum number of tokens of a text or pair, special tokens included.
        default_truncation: The truncation of calls that name none: reject, drop_end, drop_start
            or windows.
        device: Where it runs: cpu, or a GPU.
        precision: float32, bfloat16, float16 or int8.
        execution: plain or compiled.
        layout: packed or padded.
        deviation: How far its scores are from direct use or float32; None if not measured.
        limits: The limits of calls to it.
        fingerprint: SHA-256 over weights, config and tokenizer, as 64 hexadecimal digits.
        tasks: What the checkpoint is made for: classify, rank and zero_shot_classify. A hint that
            stops no call; empty from a server that is too old for it.
    """

    name: str
    is_default: bool
    state: str
    failure: str | None
    checkpoint: str = field(repr=False)
    revision: str | None = field(repr=False)
    architecture: str | None = field(repr=False)
    labels: tuple[str, ...]
    problem_type: str | None = field(repr=False)
    activation: str | None = field(repr=False)
    max_tokens: int | None
    default_truncation: str | None = field(repr=False)
    device: str | None = field(repr=False)
    precision: str | None
    execution: str | None = field(repr=False)
    layout: str | None = field(repr=False)
    deviation: Deviation | None = field(repr=False)
    limits: ModelLimits | None = field(repr=False)
    fingerprint: str | None = field(repr=False)
    tasks: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, repr=False)
class ServerLimits(Result):
    """The limits that hold for all models of a server.

    Attributes:
        max_message_bytes: Bytes of a message to the server.
        max_streams: Streams at one time.
        default_timeout_s: Seconds that a call without a deadline has.
    """

    max_message_bytes: int
    max_streams: int
    default_timeout_s: float


@dataclass(frozen=True, slots=True, repr=False)
class ServerInfo(Result):
    """The server itself.

    Attributes:
        version: Its version.
        features: Names of the contract's features that it has.
        limits: The limits that hold for all its models.
    """

    version: str
    features: tuple[str, ...]
    limits: ServerLimits
