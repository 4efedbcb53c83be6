"""Rows about models, the cache and processes."""

from .panel import Panel, Query, Row

ENGINE = Row(
    "Engine",
    [
        Panel(
            "What computes",
            "Each model's checkpoint, and how it computes its next batch.",
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
            "Distance to float32",
            "Largest difference of a score, and share of texts with a different label, measured "
            "at start.",
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
            "Workers restarted in the last hour.",
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
            "Lanes that compute a batch, and all lanes.",
            "short",
            [
                Query("sum by (model) (classwire_lanes_busy{MODEL})", "busy {{model}}"),
                Query("sum by (model) (classwire_lanes{MODEL})", "lanes {{model}}"),
            ],
        ),
        Panel(
            "Cache hits",
            "As a share of all scored texts.",
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
            "Memory of the cache",
            "And --cache-mb.",
            "bytes",
            [
                Query("sum by (model) (classwire_cache_bytes{MODEL})", "held {{model}}"),
                Query("sum by (model) (classwire_cache_capacity_bytes{MODEL})", "most {{model}}"),
            ],
        ),
    ],
)

PROCESSES = Row(
    "Processes",
    [
        Panel(
            "Memory",
            "Of the server's process and of each model's; shared memory counts in each.",
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
            "Cores used by the server's process and by each model's.",
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
            "As a share of the process's limit.",
            "percentunit",
            [Query("process_open_fds{SERVER} / process_max_fds{SERVER}", "{{instance}}")],
        ),
        Panel(
            "Calls in flight",
            "Including open streams.",
            "short",
            [Query("sum by (instance) (classwire_calls_in_flight{SERVER})", "{{instance}}")],
        ),
        Panel(
            "Running for",
            "Since the server's process started.",
            "s",
            [Query("time() - process_start_time_seconds{SERVER}", "{{instance}}")],
        ),
        Panel(
            "Versions",
            "Of the servers that are up.",
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
