"""Rows about texts: queue, batches, errors and streams."""

from .panel import Panel, Query, Row
from .queries import mean, quantile, rate

QUEUE = Row(
    "Queue",
    [
        Panel(
            "Age of the oldest text",
            "How long it has waited. Bulk work waits while there is interactive work.",
            "s",
            [
                Query(
                    "max by (model, priority) (classwire_queue_oldest_age_seconds{MODEL})",
                    "{{priority}} {{model}}",
                )
            ],
        ),
        Panel(
            "Time in the queue",
            "Of scored texts.",
            "s",
            [
                quantile(share, "classwire_queue_seconds", "MODEL", "priority, model")
                for share in (0.5, 0.99)
            ],
        ),
        Panel(
            "Queued texts",
            "By priority.",
            "short",
            [
                Query(
                    "sum by (model, priority) (classwire_queue_texts{MODEL})",
                    "{{priority}} {{model}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "How full the queue is",
            "Queued tokens as a share of --max-queue-tokens. The server rejects a call whose "
            "deadline it can't meet, even if the queue is not full.",
            "percentunit",
            [
                Query(
                    "sum by (instance, model) (classwire_queue_tokens{MODEL}) "
                    "/ sum by (instance, model) (classwire_queue_capacity_tokens{MODEL})",
                    "{{model}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Texts without scores",
            "Rejected before they were queued; expired in the queue; cancelled by the caller.",
            "cps",
            [
                rate(
                    "classwire_text_failures_total",
                    "rejected {{model}}",
                    selector='MODEL, reason="OVERLOADED"',
                ),
                rate("classwire_texts_expired_total", "expired {{model}}"),
                rate("classwire_texts_cancelled_total", "cancelled {{model}}"),
            ],
        ),
    ],
)

BATCHES = Row(
    "Batches",
    [
        Panel(
            "Texts per batch",
            "Distinct texts in one forward pass, on average.",
            "short",
            [mean("classwire_batch_texts", "{{model}}")],
        ),
        Panel(
            "How full batches are",
            "Tokens per batch as a share of a full batch. Low on an idle server: a free lane takes "
            "whatever texts are queued.",
            "percentunit",
            [
                mean("classwire_batch_fill_ratio", "mean {{model}}"),
                quantile(0.95, "classwire_batch_fill_ratio", "MODEL", "model"),
            ],
        ),
        Panel(
            "Tokens per batch",
            "On average, and in a full batch.",
            "short",
            [
                mean("classwire_batch_tokens", "{{model}}"),
                Query("max by (model) (classwire_batch_capacity_tokens{MODEL})", "full {{model}}"),
            ],
        ),
        Panel(
            "One forward pass",
            "On the device.",
            "s",
            [
                quantile(share, "classwire_inference_seconds", "MODEL", "model")
                for share in (0.5, 0.99)
            ],
        ),
        Panel(
            "Forward passes",
            "Per second.",
            "cps",
            [rate("classwire_inference_seconds_count", "{{model}}")],
        ),
        Panel(
            "Texts answered without computing",
            "Found in the cache, or equal to a text that was queued or being computed.",
            "cps",
            [
                rate("classwire_cache_hits_total", "cached {{model}}"),
                rate("classwire_texts_coalesced_total", "coalesced {{model}}"),
            ],
        ),
    ],
)

ERRORS = Row(
    "Errors",
    [
        Panel(
            "Texts by reason",
            "Texts that got an error, per second. docs/reference/errors.md explains each reason.",
            "cps",
            [
                Query(
                    "sum by (model, reason) "
                    "(rate(classwire_text_failures_total{MODEL}[WINDOW])) > 0",
                    "{{reason}} {{model}}",
                )
            ],
            stacked=True,
        ),
        Panel(
            "Calls by code and reason",
            "Calls that did not end with OK, per second. Without a reason: gRPC's own, or the "
            "caller's clock.",
            "reqps",
            [
                rate(
                    "classwire_calls_total",
                    "{{code}} {{reason}}",
                    "code, reason",
                    'SERVER, code!="OK"',
                )
            ],
            stacked=True,
        ),
        Panel(
            "After a worker was lost",
            "Texts that another worker ran again, and texts that ended two workers.",
            "cps",
            [
                rate("classwire_texts_retried_total", "retried {{model}}"),
                rate(
                    "classwire_text_failures_total",
                    "poison {{model}}",
                    selector='MODEL, reason="POISON_INPUT"',
                ),
            ],
        ),
    ],
)

STREAMS = Row(
    "Streams",
    [
        Panel(
            "Open streams",
            "And --max-streams, at which the server rejects further streams.",
            "short",
            [
                Query("sum by (instance) (classwire_streams_open{SERVER})", "open {{instance}}"),
                Query("sum by (instance) (classwire_streams_limit{SERVER})", "limit {{instance}}"),
            ],
        ),
        Panel(
            "Texts of streams",
            "Texts read, and outcomes sent, per second.",
            "cps",
            [rate("classwire_stream_items_total", "{{direction}}", "direction", "SERVER")],
        ),
        Panel(
            "Unanswered texts",
            "Texts read minus outcomes sent: texts in flight, and texts that broken streams left "
            "unanswered.",
            "short",
            [
                Query(
                    'sum by (instance) (classwire_stream_items_total{SERVER, direction="read"}) '
                    '- sum by (instance) (classwire_stream_items_total{SERVER, direction="sent"})',
                    "{{instance}}",
                )
            ],
        ),
    ],
)
