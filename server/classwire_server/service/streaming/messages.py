"""The messages of a stream: requests read, responses written."""

from collections.abc import Iterator, Sequence

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.service.answers import traits_of
from classwire_server.service.items import Item
from classwire_server.service.responses import model_ref, timing_of, write_outcomes

from .config import StreamConfig


def items_of(request: pb.StreamClassifyRequest, limit: int) -> Sequence[pb.StreamItem]:
    """The items of a message.

    Raises RequestError BAD_STREAM_START for a second config, TOO_MANY_ITEMS over the limit.
    """
    if request.WhichOneof("event") != "items":
        raise RequestError(
            Reason.BAD_STREAM_START, "a stream has one config, then items", field="config"
        )
    messages = request.items.items
    if len(messages) > limit:
        raise RequestError(
            Reason.TOO_MANY_ITEMS,
            f"{len(messages)} items in a message, and the limit is {limit}",
            field="items.items",
            metadata={"items": str(len(messages)), "max_items": str(limit)},
        )
    return messages


def started(config: StreamConfig) -> pb.StreamClassifyResponse:
    """The first message of a stream."""
    limits = config.model.limits
    return pb.StreamClassifyResponse(
        started=pb.StreamStarted(
            model=model_ref(config.model, None),
            window_items=limits.stream_window_items,
            max_items_per_message=limits.stream_items_per_message,
        )
    )


def split(items: Sequence[Item], limit: int) -> Iterator[list[Item]]:
    """Split items into messages: at most `limit` each, all computed by an engine of one kind."""
    message: list[Item] = []
    for item in items:
        before, traits = traits_of(message), traits_of([item])
        if len(message) == limit or (before and traits and before != traits):
            yield message
            message = []
        message.append(item)
    if message:
        yield message


def results_of(config: StreamConfig, items: Sequence[Item]) -> pb.StreamClassifyResponse:
    """The message with the results of items that have ended."""
    response = pb.StreamClassifyResponse()
    results = response.results
    outcomes = (results.results.add(id=item.id).outcome for item in items)
    write_outcomes(config.model, config.options, items, outcomes)
    results.model.CopyFrom(model_ref(config.model, traits_of(items)))
    results.timing.CopyFrom(timing_of(items))
    return response
