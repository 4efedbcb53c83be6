"""What callers see."""

from .panel import Panel, Query, Row
from .queries import CALL_SECONDS, CLASSIFY, mean, quantile, rate, share_failed, share_refused

WELL = Row(
    "Is it well?",
    [
        Panel(
            "Servers that answer",
            "Servers that Prometheus reaches.",
            "short",
            [Query("sum(up{SERVER})", "servers")],
            kind="stat",
        ),
        Panel(
            "Shutting down",
            "Servers that answer what is in flight and take nothing new.",
            "short",
            [Query("sum(classwire_draining{SERVER})", "servers")],
            kind="stat",
        ),
        Panel(
            "Models not ready",
            "Models that load, or whose processes are lost, each on each server.",
            "short",
            [Query('sum(classwire_model_state{MODEL, state!="ready"})', "models")],
            kind="stat",
            bad=1,
        ),
        Panel(
            "Workers down",
            "Processes of models that answer no batches; the server starts others.",
            "short",
            [Query("sum(1 - classwire_worker_up{MODEL})", "workers")],
            kind="stat",
            bad=1,
        ),
        Panel(
            "Texts scored",
            "Texts that got scores, in a second.",
            "cps",
            [Query("sum(rate(classwire_texts_total{MODEL}[WINDOW]))", "texts")],
            kind="stat",
        ),
        Panel(
            "Failed by our fault",
            "Share of texts that ended with INTERNAL, POISON_INPUT, WORKER_LOST or "
            "EXPIRED_IN_QUEUE.",
            "percentunit",
            [share_failed()],
            kind="stat",
            bad=0.01,
        ),
        Panel(
            "Refused",
            "Share of calls that were refused since there is more work than time.",
            "percentunit",
            [share_refused()],
            kind="stat",
            bad=0.05,
        ),
        Panel(
            "A single text, p99",
            "Of 100 calls of Classify, 99 take no longer. Red above the objective of the alert.",
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
            "Those that fire. docs/operate/alerts.md has a heading for each.",
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
            "Texts that got scores, and texts that got an error of whatever kind, in a second.",
            "cps",
            [
                rate("classwire_texts_total", "scored {{model}}"),
                rate("classwire_text_failures_total", "failed {{model}}"),
            ],
        ),
        Panel(
            "Calls",
            "Calls that have ended, in a second, by the status that their callers had.",
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
            "From when gRPC brought a call to its end, the wait for a thread too. Streams have no "
            "duration; their texts are under time in the queue.",
            "s",
            [quantile(0.99, CALL_SECONDS, 'SERVER, code="OK"', "method")],
        ),
        Panel(
            "A single text",
            "Calls of Classify that were answered.",
            "s",
            [quantile(share, CALL_SECONDS, CLASSIFY, "instance") for share in (0.5, 0.95, 0.99)],
        ),
        Panel(
            "Where the time goes",
            "What a scored text takes on average, stage by stage. Queue: too much work for the "
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
            "Share of the time in which a model's lanes compute. Near 100 % there is no room left; "
            "low while texts wait, other processes take the cores.",
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
            "Tokens: what is done, and what could be",
            "Tokens of scored texts in a second, beside what the engine has shown that it can do.",
            "cps",
            [
                rate("classwire_text_tokens_total", "scored {{model}}"),
                Query(
                    "sum by (model) (classwire_drain_rate_tokens_per_second{MODEL})",
                    "could be {{model}}",
                ),
            ],
        ),
        Panel(
            "Threads for calls",
            "Threads that serve calls now, those that there are, and calls that wait for one. Each "
            "open stream holds one.",
            "short",
            [
                Query(
                    "sum by (instance) (classwire_rpc_threads_busy{SERVER})", "busy {{instance}}"
                ),
                Query("sum by (instance) (classwire_rpc_threads{SERVER})", "threads {{instance}}"),
                Query(
                    "sum by (instance) (classwire_rpc_waiting_calls{SERVER})",
                    "calls that wait {{instance}}",
                ),
            ],
        ),
    ],
)
