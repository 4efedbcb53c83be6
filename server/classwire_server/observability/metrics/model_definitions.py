"""Defines the metrics of each model. All have the label `model`."""

from dataclasses import dataclass
from typing import Literal

from classwire_server.aggregates import SECONDS, SHARES, TEXTS, TOKENS


@dataclass(frozen=True)
class Metric:
    """One metric. `labels` are in the order of a sample's values; `bounds` are for histograms."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = SECONDS


SCORED = Metric("classwire_texts_total", "counter", "Texts scored.", ("model",))
TEXT_TOKENS = Metric(
    "classwire_text_tokens_total", "counter", "Tokens of scored texts.", ("model",)
)
TEXT_WINDOWS = Metric(
    "classwire_text_windows_total",
    "counter",
    "Windows of scored texts. A text that fits into the model counts as one.",
    ("model",),
)
TEXT_FAILURES = Metric(
    "classwire_text_failures_total",
    "counter",
    "Failed texts, by error reason. A failed request of the Open Inference Protocol counts as one "
    "text. Series of all reasons exist from the start.",
    ("model", "reason"),
)
TEXTS_EXPIRED = Metric(
    "classwire_texts_expired_total",
    "counter",
    "Texts whose deadline passed while they were queued.",
    ("model",),
)
TEXTS_CANCELLED = Metric(
    "classwire_texts_cancelled_total",
    "counter",
    "Texts removed from the queue because their caller cancelled or disconnected.",
    ("model",),
)
TEXTS_RETRIED = Metric(
    "classwire_texts_retried_total",
    "counter",
    "Texts queued again because their worker was lost, or because the deadline of a text in their "
    "batch passed before the batch ran.",
    ("model",),
)
TEXTS_COALESCED = Metric(
    "classwire_texts_coalesced_total",
    "counter",
    "Texts that shared the result of a queued or running text with the same tokens.",
    ("model",),
)
POISON_INPUTS = Metric(
    "classwire_poison_inputs",
    "gauge",
    "Texts that the server rejects with POISON_INPUT now. A text expires after --poison-expiry-s.",
    ("model",),
)
TOKENIZE_SECONDS = Metric(
    "classwire_tokenize_seconds",
    "histogram",
    "Time to parse and tokenize the message of a scored text.",
    ("model",),
)
QUEUE_SECONDS = Metric(
    "classwire_queue_seconds",
    "histogram",
    "Time that a scored text was queued.",
    ("model", "priority"),
)

QUEUE_TEXTS = Metric("classwire_queue_texts", "gauge", "Queued texts.", ("model", "priority"))
QUEUE_TOKENS = Metric(
    "classwire_queue_tokens",
    "gauge",
    "Queued tokens. Texts with the same tokens count once.",
    ("model", "priority"),
)
QUEUE_AGE = Metric(
    "classwire_queue_oldest_age_seconds",
    "gauge",
    "Age of the oldest queued text; 0 if the queue is empty.",
    ("model", "priority"),
)
QUEUE_CAPACITY = Metric(
    "classwire_queue_capacity_tokens",
    "gauge",
    "Maximum queued tokens (--max-queue-tokens).",
    ("model",),
)
DRAIN_RATE = Metric(
    "classwire_drain_rate_tokens_per_second",
    "gauge",
    "Throughput of the engine while it is busy, measured on the latest batches; 0 before the "
    "first. The server rejects calls whose deadline it cannot meet at this rate.",
    ("model",),
)

INFERENCE_SECONDS = Metric(
    "classwire_inference_seconds",
    "histogram",
    "Duration of a forward pass on the device.",
    ("model",),
)
BATCH_TEXTS = Metric(
    "classwire_batch_texts", "histogram", "Distinct texts in a forward pass.", ("model",), TEXTS
)
BATCH_TOKENS = Metric(
    "classwire_batch_tokens", "histogram", "Tokens in a forward pass.", ("model",), TOKENS
)
BATCH_FILL = Metric(
    "classwire_batch_fill_ratio",
    "histogram",
    "Tokens in a forward pass divided by the batch capacity. Above 1 only for a text longer than "
    "the capacity, which runs alone.",
    ("model",),
    SHARES,
)
BATCH_CAPACITY = Metric(
    "classwire_batch_capacity_tokens",
    "gauge",
    "Maximum tokens in a batch (--batch-tokens, or measured at start).",
    ("model",),
)
LANES = Metric(
    "classwire_lanes", "gauge", "Batches that the engine can run in parallel.", ("model",)
)
LANES_BUSY = Metric("classwire_lanes_busy", "gauge", "Lanes that run a batch now.", ("model",))

CACHE_HITS = Metric(
    "classwire_cache_hits_total",
    "counter",
    "Texts answered from the cache (--cache-mb).",
    ("model",),
)
CACHE_ENTRIES = Metric("classwire_cache_entries", "gauge", "Answers in the cache.", ("model",))
CACHE_BYTES = Metric(
    "classwire_cache_bytes", "gauge", "Memory of the answers in the cache.", ("model",)
)
CACHE_CAPACITY = Metric(
    "classwire_cache_capacity_bytes",
    "gauge",
    "Maximum memory of the cache (--cache-mb).",
    ("model",),
)

MODEL_INFO = Metric(
    "classwire_model_info",
    "gauge",
    "Always 1. The labels give the checkpoint and its engine. They change when the model is "
    "replaced, and when the server switches to a compiled engine.",
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
    "1 for the current state of the model, else 0. States: loading, ready, failed. A model is "
    "failed while no worker process is up, including during a restart.",
    ("model", "state"),
)
SCORE_DEVIATION = Metric(
    "classwire_model_score_deviation",
    "gauge",
    "Maximum difference of any score from uncompiled float32, one text at a time. Measured at "
    "start.",
    ("model",),
)
LABEL_AGREEMENT = Metric(
    "classwire_model_label_agreement_ratio",
    "gauge",
    "Share of texts with the same top label as in uncompiled float32, one text at a time. Measured "
    "at start.",
    ("model",),
)

_WORKER = ("model", "worker", "device")
WORKER_UP = Metric(
    "classwire_worker_up",
    "gauge",
    "1 while the worker process answers batches, else 0.",
    _WORKER,
)
WORKER_RESTARTS = Metric(
    "classwire_worker_restarts_total",
    "counter",
    "Restarts of the worker process after it ended.",
    _WORKER,
)
WORKER_MEMORY = Metric(
    "classwire_worker_resident_memory_bytes",
    "gauge",
    "Resident memory of the worker process, including shared memory. Only on Linux.",
    _WORKER,
)
WORKER_CPU = Metric(
    "classwire_worker_cpu_seconds_total",
    "counter",
    "Processor time of the worker process. Resets at a restart. Only on Linux.",
    _WORKER,
)

MODEL_GROUPS = {
    "Texts": (
        SCORED,
        TEXT_TOKENS,
        TEXT_WINDOWS,
        TEXT_FAILURES,
        TEXTS_EXPIRED,
        TEXTS_CANCELLED,
        TEXTS_RETRIED,
        TEXTS_COALESCED,
        POISON_INPUTS,
        TOKENIZE_SECONDS,
        QUEUE_SECONDS,
    ),
    "Queue": (QUEUE_TEXTS, QUEUE_TOKENS, QUEUE_AGE, QUEUE_CAPACITY, DRAIN_RATE),
    "Batches": (
        INFERENCE_SECONDS,
        BATCH_TEXTS,
        BATCH_TOKENS,
        BATCH_FILL,
        BATCH_CAPACITY,
        LANES,
        LANES_BUSY,
    ),
    "Cache": (CACHE_HITS, CACHE_ENTRIES, CACHE_BYTES, CACHE_CAPACITY),
    "Models": (MODEL_INFO, MODEL_STATE, SCORE_DEVIATION, LABEL_AGREEMENT),
    "Workers": (WORKER_UP, WORKER_RESTARTS, WORKER_MEMORY, WORKER_CPU),
}
"""All metrics of models by group, as in the documentation."""
