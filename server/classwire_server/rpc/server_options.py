"""How gRPC treats connections, and how much it takes of a call."""

from classwire_server.config.server_config import ServerConfig

FAREWELL_S = 1.0
"""How long the last answers may take to leave, once all calls are done."""
COMPRESSION_LEVELS = {"none": 0, "gzip": 1}
"""By level gRPC looks at what the caller accepts; an algorithm it would just use."""
MAX_UNSEEN_CALLS = 3_000
"""What gRPC by itself takes at most; it would begin to cancel calls, by chance, at 1,000."""
LOOKAHEAD_BYTES = 262_144
"""How much of a call the server takes beyond what it has read."""


def grpc_options(config: ServerConfig) -> list[tuple[str, int]]:
    """The options of the gRPC server."""
    options = [
        ("grpc.so_reuseport", 0),  # else a second server would share the port in silence
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        # One connection may have as many as the server can have at all, and as many to be refused.
        (
            "grpc.max_concurrent_streams",
            2 * (config.rpc_threads + config.max_waiting_calls),
        ),
        # Of the calls that nobody has seen yet; more are cancelled, without a reason.
        ("grpc.server.max_pending_requests", MAX_UNSEEN_CALLS),
        ("grpc.server.max_pending_requests_hard_limit", MAX_UNSEEN_CALLS),
        # Between the two gRPC would refuse calls by chance.
        ("grpc.max_metadata_size", config.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", config.max_metadata_bytes),
        ("grpc.default_compression_level", COMPRESSION_LEVELS[config.compression]),
        ("grpc.keepalive_time_ms", round(config.keepalive_time_s * 1e3)),
        ("grpc.keepalive_timeout_ms", round(config.keepalive_timeout_s * 1e3)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", round(config.min_ping_interval_s * 1e3)),
        # What gRPC takes of a call before anybody reads it; by itself it takes 4 to 16 MiB.
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.enable_channelz", 0),  # gRPC collects it by default, and nothing here reads it
    ]
    if config.max_connection_age_s:
        # A stream may begin just before its connection is to end. It ends by itself at the same
        # age, and drains: gRPC, which can say nothing of it, has to wait for longer than that.
        grace_s = config.max_connection_age_s + config.drain_timeout_s + 2 * FAREWELL_S
        options += [
            ("grpc.max_connection_age_ms", round(config.max_connection_age_s * 1e3)),
            ("grpc.max_connection_age_grace_ms", round(grace_s * 1e3)),
        ]
    return options
