"""Writes log lines as JSON or as text, each with the request id of its call."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

import grpc

from classwire.escaping import visible
from classwire_server.rpc.call_record import CallRecord, current_request_id

log = logging.getLogger(__name__)


def write(record: CallRecord, code: grpc.StatusCode) -> None:
    """Write the access log line of a call that has ended."""
    log.info(
        "call ended",
        extra={
            "request_id": record.request_id,
            "method": record.method.name,
            "code": code.name,
            "reason": record.reason,
            "duration_ms": round(1e3 * (time.monotonic() - record.began_s), 3),
            "caller": record.caller,
            "model": record.model,
            "texts": record.texts or None,
            "tokens": record.tokens or None,
        },
    )


FIELDS = (
    "request_id",
    "method",
    "code",
    "reason",
    "duration_ms",
    "caller",
    "model",
    "texts",
    "tokens",
)
"""Fields that a line may have in addition to its message, in this order. They come from `extra`."""
_LOGGERS = ("classwire_server", "grpc")


def configure(level: str, format: str, stream: TextIO = sys.stderr) -> None:
    """Write the log lines of the server and the warnings of gRPC to `stream`.

    `format` is one of LOG_FORMATS: auto is pretty on a terminal, else JSON.
    """
    is_pretty = format == "pretty" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Pretty() if is_pretty else Json())
    handler.addFilter(_add_request_id)
    # Libraries have their own handlers, so a root handler would write their lines twice.
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    logging.getLogger(_LOGGERS[0]).setLevel(level.upper())


class Json(logging.Formatter):
    """One JSON object per line: time (UTC, RFC 3339), level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if trace := _trace(self, record):
            line["traceback"] = trace
        return json.dumps(line, ensure_ascii=False)


class Pretty(logging.Formatter):
    """Time and message, then the fields as `name=value`. Level and logger only if not info.

    Text from others is escaped, so it cannot forge a line. The lines of a traceback are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with any traceback below it."""
        name = record.name.removeprefix("classwire_server.")
        origin = "" if record.levelno == logging.INFO else f"{record.levelname} {name}: "
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = visible(f"{origin}{record.getMessage()}{fields}")
        trace = (f"  {visible(line)}" for line in _trace(self, record).splitlines())
        return "\n".join((f"{_time(record)} {text}", *trace))


def _add_request_id(record: logging.LogRecord) -> bool:
    """Add the request id of the current call to a line."""
    if not hasattr(record, "request_id"):
        record.request_id = current_request_id()
    return True


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given = {name: getattr(record, name, None) for name in FIELDS}
    return {name: value for name, value in given.items() if value not in (None, "")}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    return record.exc_text or ""
