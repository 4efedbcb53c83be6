"""The rows about calls."""

from .panel import Panel, Query, Row
from .queries import CALL_SECONDS, CLASSIFY, mean, quantile, rate, share_failed, share_overloaded

WELL = Row(
    "Is it healthy?",
    [
        Panel(
            "Servers up",
            "Servers that Prometheus can scrape.",
            "short",
            [Query("sum(up{SERVER})", "servers")],
            kind="stat",
        ),
        Panel(
            "Shutting down",
            "Servers that finish calls in flight and reject new ones.",
            "short",
            [Query("sum(classwire_draining{SERVER})", "servers")],
            kind="stat",
        ),
        Panel(
            "Models not ready",
            "Models that are loading or failed, counted on each server.",
            "short",
            [Query('sum(classwire_model_state{MODEL, state!="ready"})', "models")],
            kind="stat",
            bad=1,
        ),
        Panel(
            "Workers down",
            "Worker processes that do not answer batches. The server restarts them.",
            "short",
            [Query("sum(1 - classwire_worker_up{MODEL})", "workers")],
            kind="stat",
            bad=1,
        ),
        Panel(
            "Texts scored",
            "Texts scored per second.",
            "cps",
            [Query("sum(rate(classwire_texts_total{MODEL}[WINDOW]))", "texts")],
            kind="stat",
        ),
        Panel(
            "Failed by the server",
            "Share of texts that failed with INTERNAL, POISON_INPUT, WORKER_LOST or "
            "EXPIRED_IN_QUEUE.",
            "percentunit",
            [share_failed()],
            kind="stat",
            bad=0.01,
        ),
        Panel(
            "Overloaded",
            "Share of calls with texts that got OVERLOADED.",
            "percentunit",
            [share_overloaded()],
            kind="stat",
            bad=0.05,
        ),
        Panel(
            "Classify, p99",
            "99 of 100 Classify calls take no longer. Red above the threshold of the alert.",
            "s",
            [
                Query(
                    "histogram_quantile(0.99, sum by (le) "
                    f"(rate({CALL_SECONDS}_bucket{{{CLASSIFY}}}[WINDOW])))",
                    "p99",
                )
            ],
            kind="stat",
            bad=0.5,
        ),
        Panel(
            "Alerts",
            "Firing alerts. docs/operate/alerts.md has a heading for each.",
            "short",
            [
                Query(
                    "sum by (alertname, severity, instance, model) "
                    '(ALERTS{alertname=~"Classwire.+", alertstate="firing"})',
                    "{{alertname}}",
                )
            ],
            kind="table",
        ),
        Panel(
            "Texts",
            "Texts scored and texts failed, per second.",
            "cps",
            [
                rate("classwire_texts_total", "scored {{model}}"),
                rate("classwire_text_failures_total", "failed {{model}}"),
            ],
        ),
        Panel(
            "Calls",
            "Ended calls per second, by status code.",
            "reqps",
            [rate("classwire_calls_total", "{{code}}", "code", "SERVER")],
            stacked=True,
        ),
    ],
)

SLOW = Row(
    "Why is it slow?",
    [
        Panel(
            "Unary calls, p99",
            "Duration of calls, including the wait for an RPC thread. For streams, see the time "
            "in the queue.",
            "s",
            [quantile(0.99, CALL_SECONDS, 'SERVER, code="OK"', "method")],
        ),
        Panel(
            "Classify",
            "Duration of successful Classify calls.",
            "s",
            [quantile(share, CALL_SECONDS, CLASSIFY, "instance") for share in (0.5, 0.95, 0.99)],
        ),
        Panel(
            "Where the time goes",
            "Mean time of a scored text by stage. A long queue: too much work for the device. A "
            "long forward pass: long texts or busy cores. Long tokenizing: large messages.",
            "s",
            [
                mean("classwire_tokenize_seconds", "tokenizing {{model}}"),
                mean("classwire_queue_seconds", "queue {{model}}"),
                mean("classwire_inference_seconds", "forward pass {{model}}"),
            ],
            stacked=True,
        ),
        Panel(
            "How busy the device is",
            "Share of time in which a model's lanes run. Near 100 %, the device is full. If it is "
            "low while texts are queued, other processes use the cores.",
            "percentunit",
            [
                Query(
                    "sum by (instance, model) "
                    "(rate(classwire_inference_seconds_sum{MODEL}[WINDOW])) "
                    "/ sum by (instance, model) (classwire_lanes{MODEL})",
                    "{{model}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Tokens per second, and capacity",
            "Tokens of scored texts per second, and the measured throughput of the busy engine.",
            "cps",
            [
                rate("classwire_text_tokens_total", "scored {{model}}"),
                Query(
                    "sum by (model) (classwire_drain_rate_tokens_per_second{MODEL})",
                    "capacity {{model}}",
                ),
            ],
        ),
        Panel(
            "RPC threads",
            "Busy threads, all threads, and calls queued for a thread. Each open stream holds one.",
            "short",
            [
                Query(
                    "sum by (instance) (classwire_rpc_threads_busy{SERVER})", "busy {{instance}}"
                ),
                Query("sum by (instance) (classwire_rpc_threads{SERVER})", "threads {{instance}}"),
                Query(
                    "sum by (instance) (classwire_rpc_waiting_calls{SERVER})",
                    "queued calls {{instance}}",
                ),
            ],
        ),
    ],
)
