"""The streams of a server, of whatever protocol."""

import threading
from collections.abc import Iterator

from classwire._reasons import Reason

from ..config import ServerConfig
from ..errors import RequestError
from ..gate import Gate
from .alarms import Alarms
from .handlers import Call
from .session import Response, Session
from .stream_lifetime import StreamLimits


class Streams:
    """Lets streams in up to a number, and ends them in time. Safe for use by any thread."""

    def __init__(self, gate: Gate, config: ServerConfig) -> None:
        self.limits = StreamLimits.of(config)
        self._gate = gate
        self._max_streams = config.max_streams
        self._free = threading.BoundedSemaphore(config.max_streams)
        self._alarms = Alarms()

    def serve(self, session: Session[Response], call: Call) -> Iterator[Response]:
        """All responses of a new stream. Raises RequestError as it does, or TOO_MANY_STREAMS."""
        if not self._free.acquire(blocking=False):
            raise RequestError(
                Reason.TOO_MANY_STREAMS,
                "the server has as many streams as it takes",
                metadata={"max_streams": str(self._max_streams)},
                retry_after_s=1.0,
            )
        call.when_over(self._free.release)
        call.when_over(self._gate.listen(session.drain))
        call.when_over(self._alarms.set(session.check(call.received_s), session.check))
        yield from session.responses()
