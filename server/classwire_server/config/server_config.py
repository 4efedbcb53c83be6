"""The server's settings: frozen, and checked where they are built.

Every field of `ServerConfig` is a setting. Its name gives the flag (`--max-streams`), the
environment variable (`CLASSWIRE_MAX_STREAMS`) and the key in the TOML file (`max_streams`);
`sources.py` resolves the three.
"""

import math
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path

from classwire_server.errors import ConfigError

from .admin import AdminSettings
from .endpoints import check_host
from .metrics import MetricsSettings
from .model_source import ModelSource
from .security import SecuritySettings
from .setting import setting
from .tracing import TracingSettings

DEVICES = re.compile(r"auto|(cpu|mps|cuda(:\d+)?)(,(cpu|mps|cuda(:\d+)?))*")
PRECISIONS = ("float32", "bfloat16", "float16", "int8", "auto")
TRUNCATIONS = ("reject", "drop_end", "drop_start")
COMPRESSIONS = ("none", "gzip")
LOG_FORMATS = ("auto", "json", "pretty")
LOG_LEVELS = ("debug", "info", "warning", "error")

EMBEDDED_MODEL = "stars-en"
EMBEDDED_FOLDER = Path(__file__).parent.parent / "models" / EMBEDDED_MODEL

SPARE_RPC_THREADS = 4
"""Pool threads that streams must always leave free for other calls."""


@dataclass(frozen=True)
class ServingSettings:
    """What is served, where, and within which limits."""

    model: tuple[str, ...] = setting(
        (),
        "Checkpoint to serve: a folder or a hub id, as [name=]folder or [name=]id[@revision]. "
        "May be repeated; the first is the default model. None: the embedded English star model.",
    )
    revision: str = setting("", "Hub revision of models that name none: branch, tag or commit.")
    offline: bool = setting(
        False, "Never ask the hub; use its cache on disk (as HF_HUB_OFFLINE=1)."
    )
    cache_dir: str = setting("", "Folder of the hub's cache. Default: transformers' own (HF_HOME).")
    trust_remote_code: bool = setting(
        False, "Run Python code that comes with a checkpoint. Only for checkpoints that you trust."
    )
    safetensors_only: bool = setting(
        False, "Refuse weights in any form but safetensors, even for torch's weights-only loader."
    )
    device: str = setting(
        "auto",
        "Where the model runs: auto, cpu, cuda, cuda:N or mps; several, with commas between them, "
        "share the work.",
    )
    precision: str = setting(
        "float32",
        "Arithmetic: float32, bfloat16, float16, int8, or auto: the fastest that stays within "
        "--min-label-agreement and --max-score-difference.",
        choices=PRECISIONS,
    )
    compile: bool = setting(
        False,
        "Compile the model in the background and change over to it; kept in --compile-cache.",
    )
    compile_cache: str = setting(
        "", "Folder of compiled models. Default: classwire in the user's cache folder."
    )
    deterministic: bool = setting(
        False, "One text at a time, so that not one bit of its scores depends on other texts."
    )
    calibration: str = setting(
        "", "File of texts, one a line, to compare precisions on. Default: texts of our own."
    )
    min_label_agreement: float = setting(
        0.99, "Least share of calibration texts that must keep their label under --precision auto."
    )
    max_score_difference: float = setting(
        0.03, "Largest difference of any score that --precision auto accepts."
    )
    lanes: int = setting(
        0, "Batches that a CPU computes at the same time. 0: one for each core, at most four."
    )
    threads: int = setting(0, "Threads of each lane. 0: the cores, divided among the lanes.")
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(50051, "Port to listen on. 0: any free port, printed at start.")
    unix_socket: str = setting("", "Path of a Unix domain socket to listen on as well.")
    truncation: str = setting(
        "reject",
        "What happens to texts of too many tokens when a call does not say: "
        "reject, drop_end or drop_start.",
        choices=TRUNCATIONS,
    )
    max_tokens: int = setting(
        0, "Largest number of tokens of a text, below the model's own limit. 0: the model's own."
    )
    max_text_bytes: int = setting(65_536, "Largest text, in bytes of UTF-8.")
    max_texts_per_call: int = setting(
        256, "Largest number of texts of a batch call (less where answers would pass 4 MiB)."
    )
    max_message_bytes: int = setting(20_971_520, "Largest request message, in bytes.")
    max_metadata_bytes: int = setting(
        16_384, "Largest metadata of a call, in bytes, 32 more for each pair."
    )
    compression: str = setting(
        "none",
        "Compression of answers for callers that accept it: none or gzip. Requests may be either.",
        choices=COMPRESSIONS,
    )
    default_timeout_s: float = setting(
        30.0, "Time limit of calls that bring no deadline, in seconds."
    )
    rpc_threads: int = setting(64, "Threads that serve calls; each open stream holds one.")
    max_waiting_calls: int = setting(
        1_024,
        "Maximum calls queued for an RPC thread. Lowered automatically when queued calls have "
        "short deadlines. Excess calls get OVERLOADED.",
    )
    max_streams: int = setting(32, "Largest number of open streams.")
    stream_window_items: int = setting(256, "Unanswered items after which a stream is not read.")
    stream_items_per_message: int = setting(64, "Largest number of items in a message of a stream.")
    stream_idle_timeout_s: float = setting(
        600.0,
        "End a stream when nothing is unanswered and nothing comes, or its caller does not read, "
        "for so many seconds. 0: never.",
    )
    batch_tokens: int = setting(
        0, "Tokens of a batch for the device (one text always fits). 0: measured at start."
    )
    worker_timeout_s: float = setting(
        60.0,
        "A batch that takes longer has hung: the model's process is killed, and another started.",
    )
    max_queue_tokens: int = setting(262_144, "Tokens that may wait for the device, for each model.")
    cache_mb: float = setting(
        0.0, "Memory for the answers of texts that may come again, for each model, in MB. 0: none."
    )
    keepalive_time_s: float = setting(60.0, "Ping idle connections after so many seconds.")
    keepalive_timeout_s: float = setting(
        20.0, "Close a connection whose ping is not answered in time."
    )
    min_ping_interval_s: float = setting(
        10.0, "Clients may ping this often, with or without calls (ours does every 30 s)."
    )
    max_connection_age_s: float = setting(
        1_800.0,
        "Have clients connect anew, and streams begin anew, after so many seconds, so that they "
        "find new servers. 0: never.",
    )
    drain_timeout_s: float = setting(30.0, "On shutdown, wait so long for calls in flight.")
    reflection: bool = setting(True, "Serve gRPC reflection.")
    open_inference: bool = setting(
        True, "Serve the Open Inference Protocol, for clients of Triton, on the same port."
    )
    log_level: str = setting("info", "Least level of log lines.", choices=LOG_LEVELS)
    log_format: str = setting(
        "auto",
        "Form of log lines: json, pretty, or auto: pretty on a terminal, else json.",
        choices=LOG_FORMATS,
    )
    access_log: bool = setting(
        False, "Write a log line, at level info, for each call when it has ended."
    )


@dataclass(frozen=True)
class ServerConfig(
    TracingSettings, MetricsSettings, AdminSettings, SecuritySettings, ServingSettings
):
    """All settings of one server.

    Raises ConfigError, naming the setting to change, for values that are out of range or contradict
    each other. May be built on any thread.
    """

    def __post_init__(self) -> None:
        """Check every field."""
        if not DEVICES.fullmatch(self.device):
            raise ConfigError("device", f"{self.device!r} is none of auto, cpu, cuda, cuda:N, mps")
        for field_ in fields(self):
            choices = field_.metadata.get("choices")
            value = getattr(self, field_.name)
            if choices and value not in choices:
                raise ConfigError(field_.name, f"{value!r} is none of {', '.join(choices)}")
        for name, least, most in _RANGES:
            if not least <= getattr(self, name) <= most:
                raise ConfigError(
                    name, f"{getattr(self, name)} is not within {least:g} and {most:g}"
                )
        if not self.host and not self.unix_socket:
            raise ConfigError("host", "is empty, and there is no --unix-socket either")
        self.check_security(self.host)
        self.check_admin()
        self.check_tracing()
        if not self.metrics_host:
            raise ConfigError("metrics_host", "is empty")
        for name in ("host", "metrics_host", "admin_host"):
            check_host(name, getattr(self, name))
        if self.max_streams > self.rpc_threads - SPARE_RPC_THREADS:
            raise ConfigError(
                "max_streams",
                f"{self.max_streams} streams would leave fewer than {SPARE_RPC_THREADS} of "
                f"--rpc-threads {self.rpc_threads} for other calls",
            )
        if self.stream_items_per_message > self.stream_window_items:
            raise ConfigError("stream_items_per_message", "is larger than --stream-window-items")
        if self.max_text_bytes >= self.max_message_bytes:
            raise ConfigError("max_text_bytes", "does not fit into --max-message-bytes")
        if self.calibration and not os.path.isfile(os.path.expanduser(self.calibration)):
            raise ConfigError("calibration", f"{self.calibration}: no such file")
        if os.path.expanduser(self.compile_cache).startswith("~"):
            raise ConfigError("compile_cache", f"{self.compile_cache}: there is no such home")
        names = [source.name for source in self.sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError("model", f"the name {twice!r} is given twice; use NAME=…")

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices to use, as named; each holds a copy of every model."""
        return tuple(self.device.split(","))

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """The models to serve, the default one first."""
        if not self.model:
            return (ModelSource(EMBEDDED_MODEL, str(EMBEDDED_FOLDER)),)
        return tuple(ModelSource.parse(text, self.revision) for text in self.model)


_MEBIBYTE = 1 << 20
_RANGES: tuple[tuple[str, float, float], ...] = (
    ("min_label_agreement", 0, 1),
    ("max_score_difference", 0, math.inf),
    ("lanes", 0, 1_024),
    ("threads", 0, 1_024),
    ("port", 0, 65_535),
    ("max_tokens", 0, 1 << 20),
    ("max_text_bytes", 1, 1_024 * _MEBIBYTE),
    ("max_texts_per_call", 1, 10_000),
    ("max_message_bytes", 1_024, 1_024 * _MEBIBYTE),
    ("max_metadata_bytes", 1_024, _MEBIBYTE),
    ("default_timeout_s", 0.001, 86_400),
    ("rpc_threads", SPARE_RPC_THREADS + 1, 4_096),
    ("max_waiting_calls", 1, 1 << 20),
    ("max_streams", 1, 4_096),
    ("stream_window_items", 1, 65_536),
    ("stream_items_per_message", 1, 4_096),
    ("stream_idle_timeout_s", 0, 86_400),
    ("batch_tokens", 0, 1 << 20),
    ("worker_timeout_s", 0.1, 86_400),
    ("max_queue_tokens", 1, 1 << 30),
    ("cache_mb", 0, 1 << 20),
    ("keepalive_time_s", 1, 86_400),
    ("keepalive_timeout_s", 1, 3_600),
    ("min_ping_interval_s", 1, 3_600),
    ("max_connection_age_s", 0, 86_400),
    ("drain_timeout_s", 0, 86_400),
    ("metrics_port", -1, 65_535),
    ("trace_ratio", 0, 1),
    ("admin_port", -1, 65_535),
    ("memory_budget_mb", 0, 1 << 30),
)
