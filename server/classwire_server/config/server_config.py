"""All settings of the server, validated when they are built.

Each field of `ServerConfig` is a setting. Its name gives the flag (`--max-streams`), the
environment variable (`CLASSWIRE_MAX_STREAMS`) and the key in the TOML file (`max_streams`).
`sources.py` reads all three.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from inspect import get_annotations
from pathlib import Path
from typing import Any

from classwire_server.errors import ConfigError

from .admin import AdminSettings
from .endpoints import check_host
from .engine import EngineSettings
from .limits import SPARE_RPC_THREADS, LimitSettings, SchedulingSettings, StreamSettings
from .logs import LogSettings
from .metrics import MetricsSettings
from .model import ModelSettings
from .model_source import ModelSource
from .network import NetworkSettings
from .predictions import PredictionSettings
from .security import SecuritySettings
from .tracing import TracingSettings

DEVICES = re.compile(r"auto|(cpu|mps|cuda(:\d+)?)(,(cpu|mps|cuda(:\d+)?))*")

EMBEDDED_MODEL = "stars-en"
EMBEDDED_FOLDER = Path(__file__).parent.parent / "models" / EMBEDDED_MODEL


@dataclass(frozen=True)
class ServerConfig(
    ModelSettings,
    EngineSettings,
    NetworkSettings,
    LimitSettings,
    SchedulingSettings,
    StreamSettings,
    AdminSettings,
    SecuritySettings,
    MetricsSettings,
    PredictionSettings,
    LogSettings,
    TracingSettings,
):
    """All settings of one server.

    Raises ConfigError, which names the setting to change, if a value is out of range or contradicts
    another. May be built on any thread.
    """

    def __post_init__(self) -> None:
        """Validate every field."""
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
                    name, f"{getattr(self, name)} is not between {least:g} and {most:g}"
                )
        if not self.host and not self.unix_socket:
            raise ConfigError("host", "is empty, and --unix-socket is not given")
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
            raise ConfigError("compile_cache", f"{self.compile_cache}: no such home folder")
        names = [source.name for source in self.sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ConfigError("model", f"two models are named {twice!r}; rename one with NAME=…")
        self.check_predictions(tuple(names))

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices to use. Each holds a copy of every model."""
        return tuple(self.device.split(","))

    @property
    def sources(self) -> tuple[ModelSource, ...]:
        """The models to serve, the default model first."""
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
    ("max_windows_per_text", 1, 10_000),
    ("max_windows_per_call", 1, 100_000),
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
    ("poison_expiry_s", 1, 86_400),
    ("keepalive_time_s", 1, 86_400),
    ("keepalive_timeout_s", 1, 3_600),
    ("min_ping_interval_s", 1, 3_600),
    ("max_connection_age_s", 0, 86_400),
    ("drain_timeout_s", 0, 86_400),
    ("metrics_port", -1, 65_535),
    ("distribution_window_s", 1, 31_536_000),
    ("trace_ratio", 0, 1),
    ("admin_port", -1, 65_535),
    ("memory_budget_mb", 0, 1 << 30),
)


def _own_fields(room: type) -> tuple["Field[Any]", ...]:
    """The fields that a class of settings adds to those of its bases."""
    names = get_annotations(room)
    return tuple(field_ for field_ in fields(room) if field_.name in names)


SETTING_GROUPS: Mapping[str, tuple["Field[Any]", ...]] = {
    "Model": _own_fields(ModelSettings),
    "Engine": _own_fields(EngineSettings),
    "Network": _own_fields(NetworkSettings),
    "Limits": _own_fields(LimitSettings),
    "Scheduling": _own_fields(SchedulingSettings),
    "Streams": _own_fields(StreamSettings),
    "Security": _own_fields(SecuritySettings),
    "Admin": _own_fields(AdminSettings),
    "Metrics": _own_fields(MetricsSettings),
    "Predictions": _own_fields(PredictionSettings),
    "Logs": _own_fields(LogSettings),
    "Traces": _own_fields(TracingSettings),
}
"""All settings by group, in the order of `--help` and the documentation."""
