"""Ways to overload a server."""

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.server import Server
from tests.contract.engines import eventually


def no_time() -> RequestError:
    """The error of a call that has too little time left."""
    return RequestError(Reason.OVERLOADED, "too little time", retry_after_s=1.0)


def fill(server: Server) -> None:
    """Reject all calls, as if all threads were busy and the queue was full."""
    server.calls.admit = no_time  # type: ignore[method-assign]


def delay(server: Server) -> None:
    """Wait until all models are loaded, then have none of them answer in time."""
    registry = server.registry
    assert eventually(lambda: all(entry.served for entry in registry.entries()))
    for entry in registry.entries():
        dispatcher = registry.served(entry.source.name, "model").dispatcher
        dispatcher.least_s = lambda left_s: left_s + 60.0  # type: ignore[method-assign]
        dispatcher.reject = no_time  # type: ignore[method-assign]


OVERLOADS = (fill, delay)
