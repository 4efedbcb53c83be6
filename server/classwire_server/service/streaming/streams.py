"""The open streams of a server, of both protocols."""

import threading
from collections.abc import Iterator
from typing import Any

from classwire.contract.reasons import Reason
from classwire_server.config.server_config import ServerConfig
from classwire_server.errors import RequestError
from classwire_server.gate import Gate
from classwire_server.rpc.call import Call
from classwire_server.rpc.timers import Timers

from .lifetime import StreamLimits
from .session import Response, StreamSession


class Streams:
    """Limits how many streams are open and how long each lasts. Any thread may call it."""

    def __init__(self, gate: Gate, config: ServerConfig) -> None:
        self.limits = StreamLimits.of(config)
        self.max_streams = config.max_streams
        self._gate = gate
        self._open: set[StreamSession[Any]] = set()
        self._read_items = 0  # of ended streams, as below
        self._sent_items = 0
        self._lock = threading.Lock()  # guards the three above
        self._timers = Timers()

    @property
    def open(self) -> int:
        """Number of open streams."""
        return len(self._open)

    def items(self) -> tuple[int, int]:
        """Texts that all streams have read until now, and texts whose results they have sent."""
        with self._lock:
            read = self._read_items + sum(session.read_items for session in self._open)
            return read, self._sent_items + sum(session.sent_items for session in self._open)

    def serve(self, session: StreamSession[Response], call: Call) -> Iterator[Response]:
        """All responses of a new stream.

        Raises RequestError TOO_MANY_STREAMS at `max_streams`, and what `session.responses` raises.
        """
        self._enter(session)
        call.when_over(lambda: self._leave(session))
        call.when_over(self._gate.listen(session.drain))
        call.when_over(self._timers.set(session.check(call.received_s), session.check))
        yield from session.responses()

    def _enter(self, session: StreamSession[Any]) -> None:
        with self._lock:
            if len(self._open) < self.max_streams:
                self._open.add(session)
                return
        raise RequestError(
            Reason.TOO_MANY_STREAMS,
            "the server has the maximum number of open streams",
            metadata={"max_streams": str(self.max_streams)},
            retry_after_s=1.0,
        )

    def _leave(self, session: StreamSession[Any]) -> None:
        with self._lock:
            self._open.remove(session)
            self._read_items += session.read_items
            self._sent_items += session.sent_items
