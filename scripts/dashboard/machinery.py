"""What computes, and what it takes."""

from .panel import Panel, Query, Row

ENGINE = Row(
    "Engine",
    [
        Panel(
            "What computes",
            "The checkpoint of each model, and how its next batch is computed.",
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
            "Largest difference of any score, and share of texts with another label, as measured "
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
            "Processes that took over",
            "Workers that were started in the last hour since another had ended.",
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
            "Lanes with a batch",
            "Beside all lanes.",
            "short",
            [
                Query("sum by (model) (classwire_lanes_busy{MODEL})", "busy {{model}}"),
                Query("sum by (model) (classwire_lanes{MODEL})", "lanes {{model}}"),
            ],
        ),
        Panel(
            "Answers from the cache",
            "As a share of all texts that got scores.",
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
            "Beside --cache-mb.",
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
            "Of the server's own process, and of each model's; what they share counts in each.",
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
            "Cores in use, by the server's own process and by each model's.",
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
            "As a share of what the process may have.",
            "percentunit",
            [Query("process_open_fds{SERVER} / process_max_fds{SERVER}", "{{instance}}")],
        ),
        Panel(
            "Calls in flight",
            "Open streams too.",
            "short",
            [Query("sum by (instance) (classwire_calls_in_flight{SERVER})", "{{instance}}")],
        ),
        Panel(
            "Running for",
            "Since the server's own process started.",
            "s",
            [Query("time() - process_start_time_seconds{SERVER}", "{{instance}}")],
        ),
        Panel(
            "Versions",
            "Of the servers that answer.",
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
