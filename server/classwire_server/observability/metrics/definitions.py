"""Every metric: its name, meaning and labels. `docs/reference/metrics.md` is made of this.

No label takes a value that a caller makes up: methods are those of the port's services, models
those of the settings.
"""

from .model_definitions import MODEL_GROUPS, Metric

CALLS = Metric(
    "classwire_calls_total",
    "counter",
    "Calls that have ended, of all services on the port: with the status that the caller had, and "
    "the reason of the contract, empty where there is none. Methods that no service has are "
    "unknown.",
    ("method", "code", "reason"),
)
CALL_SECONDS = Metric(
    "classwire_call_duration_seconds",
    "histogram",
    "Calls of one message, from when gRPC brought them to their end, the wait for a thread too.",
    ("method", "code"),
)
CALLS_IN_FLIGHT = Metric(
    "classwire_calls_in_flight",
    "gauge",
    "Calls that are being served, open streams too; health and reflection are not counted.",
)
RPC_THREADS = Metric("classwire_rpc_threads", "gauge", "Threads that serve calls (--rpc-threads).")
RPC_THREADS_BUSY = Metric(
    "classwire_rpc_threads_busy",
    "gauge",
    "Threads that serve a call now; each open stream holds one.",
)
RPC_WAITING = Metric("classwire_rpc_waiting_calls", "gauge", "Calls that wait for a thread.")
STREAMS_OPEN = Metric("classwire_streams_open", "gauge", "Open streams.")
STREAMS_LIMIT = Metric(
    "classwire_streams_limit", "gauge", "Largest number of open streams (--max-streams)."
)
STREAM_ITEMS = Metric(
    "classwire_stream_items_total",
    "counter",
    "Texts of streams: read from callers, and sent back with their outcome. What lies between them "
    "is unanswered, or was given up with its stream.",
    ("direction",),
)

BUILD_INFO = Metric(
    "classwire_build_info", "gauge", "1; which server this is.", ("version", "python", "grpcio")
)
DRAINING = Metric(
    "classwire_draining", "gauge", "1 from when the server begins to shut down, else 0."
)

PROCESS = (
    Metric("process_resident_memory_bytes", "gauge", "Memory of the server's own process."),
    Metric("process_virtual_memory_bytes", "gauge", "Address space of the server's own process."),
    Metric("process_cpu_seconds_total", "counter", "Processor time of the server's own process."),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "When the server's own process started, in seconds since 1970.",
    ),
    Metric("process_open_fds", "gauge", "Open files and sockets of the server's own process."),
    Metric("process_max_fds", "gauge", "Open files and sockets that it may have."),
)
"""What prometheus-client knows of a process. On Linux."""

GROUPS = {
    "Calls": (
        CALLS,
        CALL_SECONDS,
        CALLS_IN_FLIGHT,
        RPC_THREADS,
        RPC_THREADS_BUSY,
        RPC_WAITING,
        STREAMS_OPEN,
        STREAMS_LIMIT,
        STREAM_ITEMS,
    ),
    **MODEL_GROUPS,
    "The server": (BUILD_INFO, DRAINING, *PROCESS),
}
"""All metrics, as the documentation shows them."""

METRICS = tuple(metric for group in GROUPS.values() for metric in group)
