"""The settings of the kit's servers: small limits, so that vectors beyond them are short."""

MAX_TEXT_BYTES = 2_048
MAX_TEXTS_PER_CALL = 16
MAX_MESSAGE_BYTES = 16_384
STREAM_WINDOW_ITEMS = 16
STREAM_ITEMS_PER_MESSAGE = 8
MAX_STREAMS = 8
DEFAULT_TIMEOUT_S = 30
FAULTY_TIMEOUT_S = 0.5
"""The server's own limit of calls at `faulty`, which some vectors wait out."""
FAULTY_QUEUE_TOKENS = 32
FAULTY_OWN_STREAMS = 1
"""Streams that `faulty` itself keeps open, so that its queue is never empty."""
FAULTY_LOGITS = (0.0, 1.0, 2.0, 3.0, 4.0)
