"""Servers with more to do than there is time for."""

from classwire.contract.reasons import Reason
from classwire_server.errors import RequestError
from classwire_server.server import Server
from tests.contract.engines import eventually


def no_time() -> RequestError:
    """What a call hears that has too little time."""
    return RequestError(Reason.OVERLOADED, "too little time", retry_after_s=1.0)


def fill(server: Server) -> None:
    """Let no call wait, as if others held all threads, and all places before them."""
    server.calls.admit = no_time  # type: ignore[method-assign]


def hold_up(server: Server) -> None:
    """Let no model answer in time, once all are loaded."""
    registry = server.registry
    assert eventually(lambda: all(entry.served for entry in registry.entries()))
    for entry in registry.entries():
        dispatcher = registry.served(entry.source.name, "model").dispatcher
        dispatcher.least_s = lambda left_s: left_s + 60.0  # type: ignore[method-assign]
        dispatcher.reject = no_time  # type: ignore[method-assign]


OVERLOADS = (fill, hold_up)
