"""The settings of what a call may send, and of how much work may wait."""

from dataclasses import dataclass

from .setting import setting

TRUNCATIONS = ("reject", "drop_end", "drop_start", "windows")

SPARE_RPC_THREADS = 4
"""RPC threads that streams always leave free for other calls."""


@dataclass(frozen=True)
class LimitSettings:
    """How large texts, calls and messages may be."""

    max_tokens: int = setting(
        0,
        "Maximum tokens of a text, if lower than the model's own limit. 0: the model's limit.",
    )
    truncation: str = setting(
        "reject",
        "Default for texts over the token limit: reject (TOO_MANY_TOKENS), drop_end, drop_start "
        "or windows (read the whole text in overlapping windows). A call may choose another.",
        choices=TRUNCATIONS,
    )
    max_text_bytes: int = setting(
        65_536, "Maximum UTF-8 bytes of a text. Larger texts get TEXT_TOO_LARGE."
    )
    max_texts_per_call: int = setting(
        256,
        "Maximum texts in a batch call. The server lowers it for models whose response could "
        "exceed 4 MiB. Larger batches get TOO_MANY_ITEMS.",
    )
    max_windows_per_text: int = setting(
        64,
        "Maximum windows of a text that is read in windows. The server lowers it for models whose "
        "queue or response could not hold such a text. Longer texts get TOO_MANY_TOKENS.",
    )
    max_windows_per_call: int = setting(
        512,
        "Maximum windows of all texts of a call; a text that fits counts as one. Never less than "
        "the two limits above. The rest of a batch gets OVERLOADED, other calls TOO_MANY_ITEMS.",
    )
    max_message_bytes: int = setting(
        20_971_520,
        "Maximum bytes of a request message. Larger messages get RESOURCE_EXHAUSTED from gRPC.",
    )
    max_metadata_bytes: int = setting(
        16_384,
        "Maximum bytes of a call's metadata. Each key-value pair counts its size plus 32 "
        "bytes. Larger metadata gets RESOURCE_EXHAUSTED from gRPC.",
    )


@dataclass(frozen=True)
class SchedulingSettings:
    """How much work may run, wait and be remembered."""

    rpc_threads: int = setting(64, "Threads that serve calls. Each open stream holds one.")
    max_waiting_calls: int = setting(
        1_024,
        "Maximum calls queued for an RPC thread. Lowered automatically when queued calls have "
        "short deadlines. Excess calls get OVERLOADED.",
    )
    default_timeout_s: float = setting(
        30.0,
        "Timeout of calls without a deadline, in seconds. Texts that are still queued after it get "
        "EXPIRED_IN_QUEUE.",
    )
    max_queue_tokens: int = setting(
        262_144,
        "Maximum tokens queued for each model. Bulk calls and streams may use half. Excess calls "
        "get OVERLOADED.",
    )
    cache_mb: float = setting(
        0.0, "Size of the LRU cache of each model's answers, in MB. 0: no cache."
    )
    poison_expiry_s: float = setting(
        600.0,
        "Seconds after which a text that got POISON_INPUT may run once more, alone. If a worker "
        "then ends on it, the text gets POISON_INPUT for as long again.",
    )


@dataclass(frozen=True)
class StreamSettings:
    """How many streams may be open, and what each may hold."""

    max_streams: int = setting(32, "Maximum open streams. Further streams get TOO_MANY_STREAMS.")
    stream_window_items: int = setting(
        256,
        "Maximum unanswered items of a stream. At the limit, the server stops reading the stream "
        "until it has answered some items.",
    )
    stream_items_per_message: int = setting(
        64,
        "Maximum items in one message of a stream. A larger message ends the stream with "
        "TOO_MANY_ITEMS.",
    )
    stream_idle_timeout_s: float = setting(
        600.0,
        "Seconds after which the server ends an idle stream. A stream is idle if it has no "
        "unanswered items and no new ones, or if its client does not read. 0: never.",
    )
