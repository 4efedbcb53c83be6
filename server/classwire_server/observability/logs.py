"""Log lines: JSON for machines, text for people, each with the id of the call it belongs to."""

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
    """Write the line of a call."""
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
"""What a line may hold beside its message, in this order: what was given to it as `extra`."""
_LOGGERS = ("classwire_server", "grpc")


def configure(level: str, format: str, stream: TextIO = sys.stderr) -> None:
    """Write lines of our own, and warnings of gRPC's, to `stream` from now on.

    `format` is one of LOG_FORMATS of the settings; auto is pretty for a terminal, else JSON.
    """
    is_pretty = format == "pretty" or (format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Pretty() if is_pretty else Json())
    handler.addFilter(_of_its_call)
    # The libraries' loggers have handlers of their own, which a root handler would double.
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
    logging.getLogger(_LOGGERS[0]).setLevel(level.upper())


class Json(logging.Formatter):
    """One object a line: time (UTC, RFC 3339), level, logger, message, then what else is known."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
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
    """Time, level, logger and message, then what else is known as `name=value`.

    Whatever was said by others stays in the line, and a traceback's lines begin like no other's.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it where there is one."""
        name = record.name.removeprefix("classwire_server.")
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        said = visible(f"{name}: {record.getMessage()}{fields}")
        trace = (f"  {visible(line)}" for line in _trace(self, record).splitlines())
        return "\n".join((f"{_time(record)} {record.levelname} {said}", *trace))


def _of_its_call(record: logging.LogRecord) -> bool:
    """Give a line the id of the call that it is written for."""
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
