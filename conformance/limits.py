"""Settings of the kit's servers: small limits, so that vectors beyond them are short."""

import hashlib
from typing import Any

MAX_TEXT_BYTES = 2_048
MAX_TEXTS_PER_CALL = 16
MAX_WINDOWS_PER_TEXT = 8
MAX_WINDOWS_PER_CALL = 16
MAX_MESSAGE_BYTES = 16_384
STREAM_WINDOW_ITEMS = 16
STREAM_ITEMS_PER_MESSAGE = 8
MAX_STREAMS = 8
DEFAULT_TIMEOUT_S = 30
FAULTY_TIMEOUT_S = 0.5
"""Default deadline of calls at `faulty`; some vectors wait until it passes."""
FAULTY_QUEUE_TOKENS = 32
FAULTY_OWN_STREAMS = 1
"""Streams that the kit keeps open at `faulty`, so that its queue is never empty."""
FAULTY_LOGITS = (0.0, 1.0, 2.0, 3.0, 4.0)

GUARDED_MODELS = ("stars-en", "other")
CALLERS: dict[str, dict[str, Any]] = {
    "reader": {},
    "narrow": {"models": ("other",)},
    "greedy": {"text_tokens_per_s": 1},
}
"""The callers of `guarded` and their permissions."""


def token_of(caller: str) -> str:
    """Return a caller's token, in the server's format; these tokens are not secret."""
    return f"cw_{caller}_{hashlib.sha256(caller.encode()).hexdigest()[:43]}"
