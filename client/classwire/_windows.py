"""The options of texts that are longer than the model."""

from __future__ import annotations

from typing import Literal, TypeAlias, TypedDict

Aggregation: TypeAlias = Literal["mean_logits", "max_score"]


class WindowOptions(TypedDict, total=False):
    """The keyword arguments of calls that may read a text in windows.

    They take effect with `truncation="windows"`, or where that is the server's setting; elsewhere
    they are an error.

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
