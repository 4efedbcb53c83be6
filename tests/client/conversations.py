"""Helpers that drive a stream's state step by step, without a server."""

from collections.abc import Iterable

from classwire import ClasswireError, StreamItem, TextInput
from classwire._calls.retry import Retry
from classwire._streaming.reconnection import Reconnection
from classwire._streaming.state import StreamState
from classwire.v1 import classwire_pb2 as pb


def started(window: int = 8, most: int = 4) -> pb.StreamClassifyResponse:
    """Return the server's first message."""
    limits = pb.StreamStarted(window_items=window, max_items_per_message=most)
    return pb.StreamClassifyResponse(started=limits)


def results(*ids: str, lost: Iterable[str] = ()) -> pb.StreamClassifyResponse:
    """Return results for these ids; the items in `lost` are UNAVAILABLE."""
    outcome = pb.Outcome(classification=pb.Classification(token_count=3))
    error = pb.Outcome(error=pb.ItemError(code=14, reason="WORKER_LOST"))
    found = [pb.StreamResult(id=id_, outcome=outcome) for id_ in ids]
    found += [pb.StreamResult(id=id_, outcome=error) for id_ in lost]
    return pb.StreamClassifyResponse(results=pb.StreamResults(results=found))


def new_stream(
    *, window: int | None = None, in_order: bool = False, reconnection: Reconnection | None = None
) -> StreamState:
    """Return a stream before its first call; by default it makes a single call."""
    ordering = pb.ORDERING_IN_ORDER if in_order else pb.ORDERING_AS_COMPLETED
    config = pb.StreamConfig(ordering=ordering)
    state = StreamState(config, window, reconnection or Reconnection(Retry(False)))
    state.begin()
    return state


def begin_call(state: StreamState, limits: tuple[int, int] = (8, 4)) -> None:
    """Make a call that the server accepts."""
    assert state.wants_call
    state.begin_call()
    state.receive(started(*limits))


def add_all(state: StreamState, items: Iterable[str | TextInput | StreamItem]) -> None:
    """Add each item."""
    for item in items:
        state.add(item)


def sent(state: StreamState) -> list[list[str]]:
    """Send all queued items, and return the ids of each message."""
    messages = []
    while state.wants_message:
        messages.append([item.id for item in state.next_message().items.items])
    return messages


def taken(state: StreamState) -> list[str]:
    """Take all outcomes, and return their ids."""
    ids = []
    while state.has_outcome:
        ids.append(state.take()[0])
    return ids


def finish(state: StreamState, error: ClasswireError | None = None) -> None:
    """Let the server end the stream, with an error or well."""
    state.ended(error)
    assert state.is_over
    assert not any((state.wants_item, state.wants_message, state.wants_call))
    state.finish()
