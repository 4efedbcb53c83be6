"""Reads and checks the config of a stream, its first message."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import Registry, ServedModel
from classwire_server.rpc.call import Call, parse
from classwire_server.scheduling.batch import Priority
from classwire_server.service.options import Options, parse_enum, parse_options
from classwire_server.service.requests import max_texts

MAX_TIMEOUT_S = 315_576_000_000
"""Maximum of a protobuf Duration."""


class Ordering(Enum):
    """The order in which results come back."""

    AS_COMPLETED = "as_completed"
    IN_ORDER = "in_order"


ORDERINGS: Mapping[Any, Ordering] = {
    pb.ORDERING_AS_COMPLETED: Ordering.AS_COMPLETED,
    pb.ORDERING_IN_ORDER: Ordering.IN_ORDER,
}


@dataclass(frozen=True, eq=False)
class StreamConfig:
    """The settings of one stream; `item_timeout_s` is math.inf for no timeout."""

    model: ServedModel
    options: Options
    in_order: bool
    item_timeout_s: float

    @classmethod
    def parse(cls, raw: bytes, registry: Registry, call: Call) -> Self:
        """Read the first message. Raises RequestError unless it is a valid config."""
        first = parse(pb.StreamClassifyRequest, raw)
        if first.WhichOneof("event") != "config":
            raise RequestError(
                Reason.BAD_STREAM_START, "a stream starts with a config", field="config"
            )
        config = first.config
        model = registry.use(config.model, "config.model", call.when_over)
        options = parse_options(config.options, model, Priority.BULK, "config.options")
        in_order = parse_enum(config.ordering, ORDERINGS, "config.ordering") is Ordering.IN_ORDER
        return cls(model, options, in_order, _item_timeout_s(config))

    @property
    def results_per_message(self) -> int:
        """Maximum number of results in one message."""
        limit = self.model.limits.stream_items_per_message
        return min(limit, max_texts(self.model, self.options))


def _item_timeout_s(config: pb.StreamConfig) -> float:
    if not config.HasField("item_timeout"):
        return math.inf
    timeout = config.item_timeout
    seconds = timeout.seconds + timeout.nanos / 1e9
    if not 0 < seconds <= MAX_TIMEOUT_S or not 0 <= timeout.nanos < 1_000_000_000:
        raise RequestError(
            Reason.BAD_OPTION,
            "item_timeout is not a positive duration",
            field="config.item_timeout",
        )
    return seconds
