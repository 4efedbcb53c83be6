"""The settings of the gRPC port and its connections."""

from dataclasses import dataclass

from .setting import setting

COMPRESSIONS = ("none", "gzip")


@dataclass(frozen=True)
class NetworkSettings:
    """Where the server listens, what it serves there, and how long connections last."""

    host: str = setting(
        "127.0.0.1",
        "Address to listen on. A non-loopback address needs TLS or --insecure. Empty: only "
        "--unix-socket.",
    )
    port: int = setting(
        50051, "Port to listen on. 0: any free port, which the server prints at start."
    )
    unix_socket: str = setting(
        "", "Path of a Unix domain socket to listen on, in addition to --host."
    )
    reflection: bool = setting(True, "Serve gRPC reflection.")
    open_inference: bool = setting(
        True, "Serve the Open Inference Protocol, for Triton clients, on the same port."
    )
    compression: str = setting(
        "none",
        "Compression of responses to clients that accept it: none or gzip. Clients may "
        "always compress requests with gzip.",
        choices=COMPRESSIONS,
    )
    keepalive_time_s: float = setting(
        60.0, "Seconds without traffic after which the server pings a connection."
    )
    keepalive_timeout_s: float = setting(
        20.0, "Seconds to wait for the reply to a ping; then the server closes the connection."
    )
    min_ping_interval_s: float = setting(
        10.0,
        "Minimum seconds between a client's pings, with or without calls. The server closes "
        "connections that ping more often. Classwire's client pings every 30 s.",
    )
    max_connection_age_s: float = setting(
        1_800.0,
        "Maximum age of connections and streams, in seconds. The server then ends them, and "
        "clients reconnect, possibly to new servers. 0: no limit.",
    )
    drain_timeout_s: float = setting(
        30.0, "On shutdown, maximum seconds to wait for calls in flight; then the server ends them."
    )
