"""Limits of calls to one model. Every response within them stays under 4 MiB."""

from dataclasses import dataclass

from classwire_server.config.server_config import ServerConfig

MAX_ANSWER_BYTES = 4_000_000
"""A little under the 4 MiB that gRPC clients of other languages accept by default."""

_TEXT_BYTES = 512  # framing of one outcome; also above an error with its message and metadata
_SCORE_BYTES = 24  # label id, score and logit with their tags, without the label
_TOKEN_BYTES = 32  # id, span, type and flags with their tags, without the token's text
_WINDOW_BYTES = 32  # span, text index, tokens and framing of one window, without its scores
_WINDOW_SCORE_BYTES = 4


@dataclass(frozen=True)
class Limits:
    """The values of `ModelLimits` in the contract."""

    max_texts_per_call: int
    max_texts_per_call_with_tokens: int
    max_text_bytes: int
    stream_window_items: int
    stream_items_per_message: int
    max_windows_per_text: int
    max_windows_per_call: int
    max_texts_per_call_with_windows: int


def limits_of(
    labels: tuple[str, ...], max_tokens: int, longest_token_bytes: int, config: ServerConfig
) -> Limits:
    """The limits of a model with these labels, whose longest token has `longest_token_bytes`."""
    scores_bytes = _TEXT_BYTES + sum(_SCORE_BYTES + len(label.encode()) for label in labels)
    tokens_bytes = max_tokens * (_TOKEN_BYTES + longest_token_bytes)
    window_bytes = _WINDOW_BYTES + _WINDOW_SCORE_BYTES * len(labels)
    max_texts = _max_texts(scores_bytes, config)
    max_windows = min(
        config.max_windows_per_text,
        config.max_queue_tokens // 2 // max_tokens,  # streams may fill half of the queue
        (MAX_ANSWER_BYTES - scores_bytes) // window_bytes,
    )
    max_windows = max(1, max_windows)
    return Limits(
        max_texts_per_call=max_texts,
        max_texts_per_call_with_tokens=_max_texts(scores_bytes + tokens_bytes, config),
        max_text_bytes=config.max_text_bytes,
        stream_window_items=config.stream_window_items,
        stream_items_per_message=config.stream_items_per_message,
        max_windows_per_text=max_windows,
        max_windows_per_call=max(config.max_windows_per_call, max_texts, max_windows),
        max_texts_per_call_with_windows=_max_texts(
            scores_bytes + max_windows * window_bytes, config
        ),
    )


def _max_texts(bytes_per_text: int, config: ServerConfig) -> int:
    return max(1, min(config.max_texts_per_call, MAX_ANSWER_BYTES // bytes_per_text))
