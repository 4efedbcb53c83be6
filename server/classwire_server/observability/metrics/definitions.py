"""Defines every metric: name, type, help and labels. They make `docs/reference/metrics.md`.

No label value comes from a caller: methods are those of the services, models those of the server.
"""

from .model_definitions import MODEL_GROUPS, Metric
from .prediction_definitions import PREDICTIONS

CALLS = Metric(
    "classwire_calls_total",
    "counter",
    "Ended calls of all services on the port, by status code and error reason. The reason is empty "
    "for OK and for errors without a reason. The method is `unknown` if no service has it.",
    ("method", "code", "reason"),
)
CALL_SECONDS = Metric(
    "classwire_call_duration_seconds",
    "histogram",
    "Duration of calls, except streams, from their arrival at the server until they end. Includes "
    "the wait for an RPC thread.",
    ("method", "code"),
)
CALLS_IN_FLIGHT = Metric(
    "classwire_calls_in_flight",
    "gauge",
    "Calls in flight, including open streams, except health checks and reflection.",
)
RPC_THREADS = Metric("classwire_rpc_threads", "gauge", "RPC threads (--rpc-threads).")
RPC_THREADS_BUSY = Metric(
    "classwire_rpc_threads_busy",
    "gauge",
    "RPC threads that serve a call now. Each open stream holds one.",
)
RPC_WAITING = Metric("classwire_rpc_waiting_calls", "gauge", "Calls queued for an RPC thread.")
STREAMS_OPEN = Metric("classwire_streams_open", "gauge", "Open streams.")
STREAMS_LIMIT = Metric("classwire_streams_limit", "gauge", "Maximum open streams (--max-streams).")
STREAM_ITEMS = Metric(
    "classwire_stream_items_total",
    "counter",
    "Stream items that the server has read (read) and outcomes that it has sent (sent). The "
    "difference is unanswered items, and items whose stream ended before their answer.",
    ("direction",),
)

BUILD_INFO = Metric(
    "classwire_build_info",
    "gauge",
    "Always 1. The labels give the versions of the server.",
    ("version", "python", "grpcio"),
)
DRAINING = Metric("classwire_draining", "gauge", "1 while the server shuts down, else 0.")

PROCESS = (
    Metric("process_resident_memory_bytes", "gauge", "Resident memory of the server process."),
    Metric("process_virtual_memory_bytes", "gauge", "Virtual memory of the server process."),
    Metric("process_cpu_seconds_total", "counter", "Processor time of the server process."),
    Metric(
        "process_start_time_seconds",
        "gauge",
        "Start time of the server process, in seconds since 1970.",
    ),
    Metric("process_open_fds", "gauge", "Open files and sockets of the server process."),
    Metric("process_max_fds", "gauge", "Maximum open files and sockets of the server process."),
)
"""Metrics of prometheus-client's own collector. Only on Linux."""

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
    "Predictions": PREDICTIONS,
    "Server": (BUILD_INFO, DRAINING, *PROCESS),
}
"""All metrics by group, as in the documentation."""

METRICS = tuple(metric for group in GROUPS.values() for metric in group)
