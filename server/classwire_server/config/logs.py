"""The settings of log lines."""

from dataclasses import dataclass

from .setting import setting

LOG_FORMATS = ("auto", "json", "pretty")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class LogSettings:
    """Which log lines the server writes, and in which format."""

    log_level: str = setting(
        "info",
        "Minimum level of log lines: debug, info, warning or error.",
        choices=LOG_LEVELS,
    )
    log_format: str = setting(
        "auto",
        "Format of log lines: json, pretty or auto. auto: pretty on a terminal, else json.",
        choices=LOG_FORMATS,
    )
    access_log: bool = setting(False, "Write one log line, at level info, when a call ends.")
