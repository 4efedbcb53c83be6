"""The keyword arguments of calls, and the words that they take."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

Activation: TypeAlias = Literal["softmax", "sigmoid", "identity"]
Truncation: TypeAlias = Literal["reject", "drop_end", "drop_start", "windows"]
OffsetUnit: TypeAlias = Literal["unicode", "utf8", "utf16"]
Priority: TypeAlias = Literal["interactive", "bulk"]
Aggregation: TypeAlias = Literal["mean_logits", "max_score"]


class WindowOptions(TypedDict, total=False):
    """The keyword arguments of calls that may read a text in windows.

    They take effect with `truncation="windows"`, or where that is the server's setting. Elsewhere,
    and at a server that is too old for windows, they raise InvalidInputError.

    Attributes:
        window_tokens: Maximum number of tokens of a window, special tokens included. Default: the
            model's `max_tokens`.
        overlap_tokens: Number of the text's tokens that neighbouring windows share. Default: a
            quarter of the text's tokens in a window.
        aggregation: How the windows' answers become one: mean_logits, the mean over all tokens of
            the text, or max_score, for each label its highest score in any window. Default:
            max_score for multi-label models, ranking and `multi_label`, else mean_logits.
    """

    window_tokens: int | None
    overlap_tokens: int | None
    aggregation: Aggregation | None


class ClassifyOptions(WindowOptions, total=False):
    """The keyword arguments that all classify methods share.

    Attributes:
        top_k: Return only the `top_k` highest scores. Default: all.
        min_score: Return only scores of at least `min_score`, in the scale of the activation.
            Default: all.
        activation: softmax, sigmoid or identity. Default: the model's own.
        truncation: For a text with too many tokens: reject, drop_end, drop_start or windows.
            Default: the server's setting.
        include_logits: Whether to return the logits. Default: False.
        include_tokens: Whether to return the tokens that the model read. Default: False.
        include_windows: Whether to return each window of a text with its scores. Default: False.
        offset_unit: Unit of places of tokens and windows: unicode (code points, the default),
            utf8 (bytes) or utf16 (code units).
        priority: interactive (the default of calls) goes before bulk (the default of streams).
        window_tokens: Largest window, in tokens. `WindowOptions` explains this and the next two.
        overlap_tokens: Tokens that neighbouring windows share.
        aggregation: mean_logits or max_score.
    """

    top_k: int | None
    min_score: float | None
    activation: Activation | None
    truncation: Truncation | None
    include_logits: bool
    include_tokens: bool
    include_windows: bool
    offset_unit: OffsetUnit | None
    priority: Priority | None


class RankOptions(WindowOptions, total=False):
    """The keyword arguments of `rank`.

    Attributes:
        top_k: Return only the `top_k` highest documents. Default: all.
        min_score: Return only documents with at least this score, in the scale of the activation.
            Default: all.
        label: The label whose score ranks. Default: the only one; a model with several needs it.
        activation: softmax, sigmoid or identity. Default: the model's own.
        truncation: For a document with too many tokens: reject, drop_end, drop_start or windows. It
            leaves the query whole. Default: the server's setting.
        priority: interactive (the default) goes before bulk.
        window_tokens: Largest window, in tokens. `WindowOptions` explains this and the next two.
        overlap_tokens: Tokens that neighbouring windows share.
        aggregation: mean_logits or max_score.
    """

    top_k: int | None
    min_score: float | None
    label: str | None
    activation: Activation | None
    truncation: Truncation | None
    priority: Priority | None


class ZeroShotOptions(WindowOptions, total=False):
    """The keyword arguments of `zero_shot`.

    Attributes:
        hypothesis_template: A sentence with one `{}`, which each candidate replaces. Default:
            "This example is {}."
        multi_label: Whether any number of candidates may fit: their scores are then independent.
            Default: False.
        top_k: Return only the `top_k` highest scores. Default: all.
        min_score: Return only scores of at least `min_score`, 0 to 1. Default: all.
        truncation: For a text with too many tokens: reject, drop_end, drop_start or windows. It
            leaves the hypothesis whole. Default: the server's setting.
        priority: interactive (the default) goes before bulk.
        window_tokens: Largest window, in tokens. `WindowOptions` explains this and the next two.
        overlap_tokens: Tokens that neighbouring windows share.
        aggregation: mean_logits or max_score.
    """

    hypothesis_template: str | None
    multi_label: bool
    top_k: int | None
    min_score: float | None
    truncation: Truncation | None
    priority: Priority | None
