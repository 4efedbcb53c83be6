"""The metrics of each model, which all have its name as a label."""

from dataclasses import dataclass
from typing import Literal

from classwire_server.aggregates import SECONDS, SHARES, TEXTS, TOKENS


@dataclass(frozen=True)
class Metric:
    """One metric; `labels` in the order in which values are given, `bounds` of a histogram."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = SECONDS


SCORED = Metric("classwire_texts_total", "counter", "Texts that got scores.", ("model",))
TEXT_TOKENS = Metric(
    "classwire_text_tokens_total", "counter", "Tokens of texts that got scores.", ("model",)
)
TEXT_FAILURES = Metric(
    "classwire_text_failures_total",
    "counter",
    "Texts that got an error, by its reason; a request of the Open Inference Protocol fails as "
    "one. Every reason is there from the start.",
    ("model", "reason"),
)
TEXTS_EXPIRED = Metric(
    "classwire_texts_expired_total",
    "counter",
    "Texts whose deadline passed while they waited.",
    ("model",),
)
TEXTS_CANCELLED = Metric(
    "classwire_texts_cancelled_total",
    "counter",
    "Texts that were taken out because their caller had gone.",
    ("model",),
)
TEXTS_RETRIED = Metric(
    "classwire_texts_retried_total",
    "counter",
    "Texts that waited once more: the worker that held them was lost, or one of their batch late.",
    ("model",),
)
TEXTS_COALESCED = Metric(
    "classwire_texts_coalesced_total",
    "counter",
    "Texts that joined another with the same tokens, which waited or was being computed.",
    ("model",),
)
TOKENIZE_SECONDS = Metric(
    "classwire_tokenize_seconds",
    "histogram",
    "Reading and tokenizing the message that a scored text came in.",
    ("model",),
)
QUEUE_SECONDS = Metric(
    "classwire_queue_seconds",
    "histogram",
    "Time that a scored text waited for the device.",
    ("model", "priority"),
)

QUEUE_TEXTS = Metric(
    "classwire_queue_texts", "gauge", "Texts that wait for the device.", ("model", "priority")
)
QUEUE_TOKENS = Metric(
    "classwire_queue_tokens",
    "gauge",
    "Tokens that wait to be computed; texts with the same tokens count once.",
    ("model", "priority"),
)
QUEUE_AGE = Metric(
    "classwire_queue_oldest_age_seconds",
    "gauge",
    "How long the oldest waiting text has waited; 0 when none waits.",
    ("model", "priority"),
)
QUEUE_CAPACITY = Metric(
    "classwire_queue_capacity_tokens",
    "gauge",
    "Tokens that may wait (--max-queue-tokens).",
    ("model",),
)
DRAIN_RATE = Metric(
    "classwire_drain_rate_tokens_per_second",
    "gauge",
    "How fast the engine works when it does, as measured on the latest batches; 0 before the "
    "first. By it calls are refused.",
    ("model",),
)

INFERENCE_SECONDS = Metric(
    "classwire_inference_seconds", "histogram", "One forward pass on the device.", ("model",)
)
BATCH_TEXTS = Metric(
    "classwire_batch_texts", "histogram", "Different texts of a forward pass.", ("model",), TEXTS
)
BATCH_TOKENS = Metric(
    "classwire_batch_tokens", "histogram", "Tokens of a forward pass.", ("model",), TOKENS
)
BATCH_FILL = Metric(
    "classwire_batch_fill_ratio",
    "histogram",
    "Tokens of a forward pass, as a share of its capacity; above 1 for one long text.",
    ("model",),
    SHARES,
)
BATCH_CAPACITY = Metric(
    "classwire_batch_capacity_tokens",
    "gauge",
    "Tokens of a full batch (--batch-tokens, or as measured at start).",
    ("model",),
)
LANES = Metric(
    "classwire_lanes", "gauge", "Batches that the engine can compute at the same time.", ("model",)
)
LANES_BUSY = Metric(
    "classwire_lanes_busy", "gauge", "Lanes that have a batch to compute.", ("model",)
)

CACHE_HITS = Metric(
    "classwire_cache_hits_total",
    "counter",
    "Texts whose answer was in the cache (--cache-mb).",
    ("model",),
)
CACHE_ENTRIES = Metric("classwire_cache_entries", "gauge", "Answers in the cache.", ("model",))
CACHE_BYTES = Metric(
    "classwire_cache_bytes", "gauge", "Memory that the answers in the cache take.", ("model",)
)
CACHE_CAPACITY = Metric(
    "classwire_cache_capacity_bytes",
    "gauge",
    "Memory that the answers in the cache may take (--cache-mb).",
    ("model",),
)

MODEL_INFO = Metric(
    "classwire_model_info",
    "gauge",
    "1; what computes the model's next batch. Another line when a compiled engine takes over.",
    (
        "model",
        "checkpoint",
        "fingerprint",
        "architecture",
        "precision",
        "execution",
        "layout",
        "device",
    ),
)
MODEL_STATE = Metric(
    "classwire_model_state",
    "gauge",
    "1 for the state that the model is in, 0 for the others: loading, ready, failed.",
    ("model", "state"),
)
SCORE_DEVIATION = Metric(
    "classwire_model_score_deviation",
    "gauge",
    "Largest difference of any score from plain float32, as measured at start.",
    ("model",),
)
LABEL_AGREEMENT = Metric(
    "classwire_model_label_agreement_ratio",
    "gauge",
    "Share of texts with the same highest label as in plain float32, as measured at start.",
    ("model",),
)

_WORKER = ("model", "worker", "device")
WORKER_UP = Metric(
    "classwire_worker_up",
    "gauge",
    "1 while the model's process answers batches, else 0.",
    _WORKER,
)
WORKER_RESTARTS = Metric(
    "classwire_worker_restarts_total",
    "counter",
    "Processes that took over from one that had ended.",
    _WORKER,
)
WORKER_MEMORY = Metric(
    "classwire_worker_resident_memory_bytes",
    "gauge",
    "Memory of the model's process, what it shares with others too. On Linux.",
    _WORKER,
)
WORKER_CPU = Metric(
    "classwire_worker_cpu_seconds_total",
    "counter",
    "Processor time of the model's process; begins at 0 with each. On Linux.",
    _WORKER,
)

MODEL_GROUPS = {
    "Texts": (
        SCORED,
        TEXT_TOKENS,
        TEXT_FAILURES,
        TEXTS_EXPIRED,
        TEXTS_CANCELLED,
        TEXTS_RETRIED,
        TEXTS_COALESCED,
        TOKENIZE_SECONDS,
        QUEUE_SECONDS,
    ),
    "The queue": (QUEUE_TEXTS, QUEUE_TOKENS, QUEUE_AGE, QUEUE_CAPACITY, DRAIN_RATE),
    "Batches": (
        INFERENCE_SECONDS,
        BATCH_TEXTS,
        BATCH_TOKENS,
        BATCH_FILL,
        BATCH_CAPACITY,
        LANES,
        LANES_BUSY,
    ),
    "The cache": (CACHE_HITS, CACHE_ENTRIES, CACHE_BYTES, CACHE_CAPACITY),
    "Models": (MODEL_INFO, MODEL_STATE, SCORE_DEVIATION, LABEL_AGREEMENT),
    "Workers": (WORKER_UP, WORKER_RESTARTS, WORKER_MEMORY, WORKER_CPU),
}
"""All of them, as the documentation shows them."""
