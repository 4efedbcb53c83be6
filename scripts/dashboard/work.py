"""What becomes of texts."""

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
            "Of texts that were scored.",
            "s",
            [
                quantile(share, "classwire_queue_seconds", "MODEL", "priority, model")
                for share in (0.5, 0.99)
            ],
        ),
        Panel(
            "Texts that wait",
            "For the device, by priority.",
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
            "Tokens that wait, as a share of --max-queue-tokens. Calls are refused before it is "
            "full when their deadline can't be met.",
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
            "Left the queue without scores",
            "Read, and refused before they waited; out of time; their caller had gone.",
            "cps",
            [
                rate(
                    "classwire_text_failures_total",
                    "refused {{model}}",
                    selector='MODEL, reason="OVERLOADED"',
                ),
                rate("classwire_texts_expired_total", "out of time {{model}}"),
                rate("classwire_texts_cancelled_total", "caller gone {{model}}"),
            ],
        ),
    ],
)

BATCHES = Row(
    "Batches",
    [
        Panel(
            "Texts of a batch",
            "Different texts that one forward pass computes, on average.",
            "short",
            [mean("classwire_batch_texts", "{{model}}")],
        ),
        Panel(
            "How full batches are",
            "Tokens of a batch, as a share of a full one. Low on an idle server: a batch is what "
            "is there when a lane is free.",
            "percentunit",
            [
                mean("classwire_batch_fill_ratio", "mean {{model}}"),
                quantile(0.95, "classwire_batch_fill_ratio", "MODEL", "model"),
            ],
        ),
        Panel(
            "Tokens of a batch",
            "On average, beside those of a full one.",
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
            "In a second.",
            "cps",
            [rate("classwire_inference_seconds_count", "{{model}}")],
        ),
        Panel(
            "Texts that cost nothing",
            "Known from the cache, or the same as one that waited or was being computed.",
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
            "Texts that got an error, in a second. docs/reference/errors.md explains each reason.",
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
            "Calls that did not end with OK, in a second. Without a reason: gRPC's own, or the "
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
            "Texts that were run once more, and texts that brought a worker down twice.",
            "cps",
            [
                rate("classwire_texts_retried_total", "once more {{model}}"),
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
            "Beside --max-streams, at which further ones are refused.",
            "short",
            [
                Query("sum by (instance) (classwire_streams_open{SERVER})", "open {{instance}}"),
                Query("sum by (instance) (classwire_streams_limit{SERVER})", "limit {{instance}}"),
            ],
        ),
        Panel(
            "Texts of streams",
            "Read from callers, and sent back with their outcome, in a second.",
            "cps",
            [rate("classwire_stream_items_total", "{{direction}}", "direction", "SERVER")],
        ),
        Panel(
            "Texts unanswered",
            "Read and not sent back: those under way, and all that streams left behind when they "
            "were broken off.",
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
