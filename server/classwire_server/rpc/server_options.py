"""The options of the gRPC server: connections, limits, compression."""

from classwire_server.config.server_config import ServerConfig

FAREWELL_S = 1.0
"""How long gRPC may take to send the last responses, once all calls are done."""
COMPRESSION_LEVELS = {"none": 0, "gzip": 1}
"""gRPC levels, not algorithms: only with a level does gRPC respect what the caller accepts."""
MAX_PENDING_CALLS = 3_000
"""gRPC's own hard limit. By default gRPC cancels calls at random from 1,000 on."""
LOOKAHEAD_BYTES = 262_144
"""How many bytes of a call gRPC takes before the server reads them."""


def grpc_options(config: ServerConfig) -> list[tuple[str, int]]:
    """The options of the gRPC server."""
    options = [
        ("grpc.so_reuseport", 0),  # else a second server could share the port unnoticed
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # One connection may have as many calls as the server can hold, and as many again to reject.
        (
            "grpc.max_concurrent_streams",
            2 * (config.rpc_threads + config.max_waiting_calls),
        ),
        # Calls that wait in gRPC, which cancels more of them without a reason. Between two limits
        # that differ it would cancel calls at random.
        ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
        ("grpc.max_metadata_size", config.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", config.max_metadata_bytes),
        ("grpc.default_compression_level", COMPRESSION_LEVELS[config.compression]),
        ("grpc.keepalive_time_ms", round(config.keepalive_time_s * 1e3)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive_timeout_s * 1e3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(config.min_ping_interval_s * 1e3)),
        # gRPC's default is 4 to 16 MiB.
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.enable_channelz", 0),  # gRPC collects it by default, and nothing here reads it
    ]
    if config.max_connection_age_s:
        # A stream may begin just before its connection reaches the age. The server ends the stream
        # at the same age, and drains it. gRPC cuts without a status, so it waits longer than that.
        grace_s = config.max_connection_age_s + config.drain_timeout_s + 2 * FAREWELL_S
        options += [
            ("grpc.max_connection_age_ms", round(config.max_connection_age_s * 1e3)),
            ("grpc.max_connection_age_grace_ms", round(grace_s * 1e3)),
        ]
    return options
