"""The rows about engines and processes."""

from .panel import Panel, Query, Row

ENGINE = Row(
    "Engine",
    [
        Panel(
            "Engines",
            "The checkpoint of each model, and the engine of its next batch.",
            "short",
            [
                Query(
                    "count by (model, checkpoint, fingerprint, precision, execution, device) "
                    "(classwire_model_info{MODEL})",
                    "{{model}}",
                )
            ],
            kind="table",
        ),
        Panel(
            "Deviation from float32",
            "Maximum difference of any score, and share of texts with another label, measured at "
            "start.",
            "percentunit",
            [
                Query("max by (model) (classwire_model_score_deviation{MODEL})", "score {{model}}"),
                Query(
                    "1 - min by (model) (classwire_model_label_agreement_ratio{MODEL})",
                    "labels {{model}}",
                ),
            ],
        ),
        Panel(
            "Worker restarts",
            "Restarts in the last hour.",
            "short",
            [
                Query(
                    "sum by (instance, model, device) "
                    "(increase(classwire_worker_restarts_total{MODEL}[1h]))",
                    "{{model}} {{device}} {{instance}}",
                )
            ],
        ),
        Panel(
            "Busy lanes",
            "Lanes that run a batch, and all lanes.",
            "short",
            [
                Query("sum by (model) (classwire_lanes_busy{MODEL})", "busy {{model}}"),
                Query("sum by (model) (classwire_lanes{MODEL})", "lanes {{model}}"),
            ],
        ),
        Panel(
            "Cache hits",
            "Share of scored texts that were answered from the cache.",
            "percentunit",
            [
                Query(
                    "sum by (model) (rate(classwire_cache_hits_total{MODEL}[WINDOW])) "
                    "/ sum by (model) (rate(classwire_texts_total{MODEL}[WINDOW]))",
                    "{{model}}",
                )
            ],
        ),
        Panel(
            "Cache memory",
            "Memory in use, and the limit (--cache-mb).",
            "bytes",
            [
                Query("sum by (model) (classwire_cache_bytes{MODEL})", "used {{model}}"),
                Query("sum by (model) (classwire_cache_capacity_bytes{MODEL})", "limit {{model}}"),
            ],
        ),
    ],
)

PROCESSES = Row(
    "Processes",
    [
        Panel(
            "Memory",
            "Of the server process and each worker. Shared memory counts in each.",
            "bytes",
            [
                Query("process_resident_memory_bytes{SERVER}", "server {{instance}}"),
                Query(
                    "classwire_worker_resident_memory_bytes{MODEL}",
                    "{{model}} {{device}} {{instance}}",
                ),
            ],
        ),
        Panel(
            "Processor",
            "Cores used by the server process and by each worker.",
            "short",
            [
                Query("rate(process_cpu_seconds_total{SERVER}[WINDOW])", "server {{instance}}"),
                Query(
                    "rate(classwire_worker_cpu_seconds_total{MODEL}[WINDOW])",
                    "{{model}} {{device}} {{instance}}",
                ),
            ],
        ),
        Panel(
            "Open files and sockets",
            "Share of the maximum of the server process.",
            "percentunit",
            [Query("process_open_fds{SERVER} / process_max_fds{SERVER}", "{{instance}}")],
        ),
        Panel(
            "Calls in flight",
            "Includes open streams.",
            "short",
            [Query("sum by (instance) (classwire_calls_in_flight{SERVER})", "{{instance}}")],
        ),
        Panel(
            "Uptime",
            "Time since the server process started.",
            "s",
            [Query("time() - process_start_time_seconds{SERVER}", "{{instance}}")],
        ),
        Panel(
            "Versions",
            "Versions of the servers.",
            "short",
            [
                Query(
                    "count by (instance, version, python, grpcio) (classwire_build_info{SERVER})",
                    "{{instance}}",
                )
            ],
            kind="table",
        ),
    ],
)
