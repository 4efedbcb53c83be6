"""Rows about calls: is the server healthy, and why is it slow."""

from .panel import Panel, Query, Row
from .queries import CALL_SECONDS, CLASSIFY, mean, quantile, rate, share_failed, share_rejected

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
            "Models that are loading or have lost their processes, counted on each server.",
            "short",
            [Query('sum(classwire_model_state{MODEL, state!="ready"})', "models")],
            kind="stat",
            bad=1,
        ),
        Panel(
            "Workers down",
            "Model processes that answer no batches; the server restarts them.",
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
            "Server errors",
            "Share of texts that ended with INTERNAL, POISON_INPUT, WORKER_LOST or "
            "EXPIRED_IN_QUEUE.",
            "percentunit",
            [share_failed()],
            kind="stat",
            bad=0.01,
        ),
        Panel(
            "Rejected",
            "Share of calls that the server rejected with OVERLOADED.",
            "percentunit",
            [share_rejected()],
            kind="stat",
            bad=0.05,
        ),
        Panel(
            "A single text, p99",
            "Of 100 Classify calls, 99 take no longer. Red above the alert's threshold.",
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
            "Firing alerts. docs/operate/alerts.md explains each.",
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
            "Texts scored and texts that got an error, per second.",
            "cps",
            [
                rate("classwire_texts_total", "scored {{model}}"),
                rate("classwire_text_failures_total", "failed {{model}}"),
            ],
        ),
        Panel(
            "Calls",
            "Finished calls per second, by status code.",
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
            "Calls of one message, p99",
            "From arrival to end, including the wait for a thread. Streams have no duration; see "
            "their texts in Time in the queue.",
            "s",
            [quantile(0.99, CALL_SECONDS, 'SERVER, code="OK"', "method")],
        ),
        Panel(
            "A single text",
            "Classify calls that ended with OK.",
            "s",
            [quantile(share, CALL_SECONDS, CLASSIFY, "instance") for share in (0.5, 0.95, 0.99)],
        ),
        Panel(
            "Where the time goes",
            "Average time of a scored text in each stage. Queue: too much work for the "
            "device, or no free lane. Device: long texts, or busy cores. Tokenizing: long "
            "messages.",
            "s",
            [
                mean("classwire_tokenize_seconds", "tokenizing {{model}}"),
                mean("classwire_queue_seconds", "queue {{model}}"),
                mean("classwire_inference_seconds", "device {{model}}"),
            ],
            stacked=True,
        ),
        Panel(
            "How busy the device is",
            "Share of the time in which a model's lanes compute. Near 100 %: no capacity left. Low "
            "while texts wait: other processes use the cores.",
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
            "Tokens: throughput and capacity",
            "Tokens scored per second, and the rate at which the engine drains a full queue.",
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
            "Threads for calls",
            "Busy RPC threads, all RPC threads, and calls that wait for one. Each open stream "
            "holds one.",
            "short",
            [
                Query(
                    "sum by (instance) (classwire_rpc_threads_busy{SERVER})", "busy {{instance}}"
                ),
                Query("sum by (instance) (classwire_rpc_threads{SERVER})", "threads {{instance}}"),
                Query(
                    "sum by (instance) (classwire_rpc_waiting_calls{SERVER})",
                    "waiting calls {{instance}}",
                ),
            ],
        ),
    ],
)
