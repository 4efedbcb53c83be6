"""The rows about texts."""

from .panel import Panel, Query, Row
from .queries import mean, quantile, rate

QUEUE = Row(
    "Queue",
    [
        Panel(
            "Age of the oldest queued text",
            "Texts of large calls wait for interactive ones, and bulk texts for both.",
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
            "Queued tokens as a share of --max-queue-tokens. The server also rejects calls before "
            "the queue is full, if it cannot meet their deadline.",
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
            "Texts without a forward pass",
            "Rejected before they were queued, expired in the queue, or cancelled by their caller.",
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
            "Mean number of distinct texts in a forward pass.",
            "short",
            [mean("classwire_batch_texts", "{{model}}")],
        ),
        Panel(
            "How full batches are",
            "Tokens in a batch as a share of its maximum. Low on an idle server, where a batch "
            "starts as soon as a lane is free.",
            "percentunit",
            [
                mean("classwire_batch_fill_ratio", "mean {{model}}"),
                quantile(0.95, "classwire_batch_fill_ratio", "MODEL", "model"),
            ],
        ),
        Panel(
            "Tokens per batch",
            "Mean tokens in a batch, and the maximum.",
            "short",
            [
                mean("classwire_batch_tokens", "{{model}}"),
                Query(
                    "max by (model) (classwire_batch_capacity_tokens{MODEL})", "maximum {{model}}"
                ),
            ],
        ),
        Panel(
            "Forward pass",
            "Duration on the device.",
            "s",
            [
                quantile(share, "classwire_inference_seconds", "MODEL", "model")
                for share in (0.5, 0.99)
            ],
        ),
        Panel(
            "Forward passes per second",
            "Of all lanes.",
            "cps",
            [rate("classwire_inference_seconds_count", "{{model}}")],
        ),
        Panel(
            "Texts that needed no computation",
            "Answered from the cache, or coalesced with an equal text in the queue or in a batch.",
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
            "Failed texts per second. docs/reference/errors.md explains each reason.",
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
            "Failed calls per second. Without a reason: an error from gRPC itself, or the "
            "deadline or cancellation of the caller.",
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
            "Texts queued again, and texts that got POISON_INPUT.",
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
        Panel(
            "Texts that ended workers",
            "Texts that the server rejects with POISON_INPUT now.",
            "short",
            [Query("sum by (model) (classwire_poison_inputs{MODEL})", "{{model}}")],
        ),
    ],
)

STREAMS = Row(
    "Streams",
    [
        Panel(
            "Open streams",
            "Open streams, and the limit (--max-streams). The server rejects streams beyond it.",
            "short",
            [
                Query("sum by (instance) (classwire_streams_open{SERVER})", "open {{instance}}"),
                Query("sum by (instance) (classwire_streams_limit{SERVER})", "limit {{instance}}"),
            ],
        ),
        Panel(
            "Texts of streams",
            "Items read, and outcomes sent, per second.",
            "cps",
            [rate("classwire_stream_items_total", "{{direction}}", "direction", "SERVER")],
        ),
        Panel(
            "Unanswered items of streams",
            "Items read minus outcomes sent: items in progress, and items whose stream ended "
            "first.",
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
