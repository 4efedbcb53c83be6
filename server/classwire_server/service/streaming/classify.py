"""One StreamClassify call."""

import time
from collections.abc import Iterator, Sequence
from itertools import takewhile

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import RequestError
from classwire_server.registry.registry import Registry
from classwire_server.rpc.call import Call, parse
from classwire_server.scheduling.batch import Pending
from classwire_server.service.items import Item, Submission, ended_items, parts_of, read_items
from classwire_server.service.requests import ClassifyRequest, text_of

from .config import StreamConfig
from .lifetime import StreamLimits
from .messages import items_of, results_of, split, started
from .session import StreamSession

MAX_ID_BYTES = 128


class ClassifyStream(StreamSession[pb.StreamClassifyResponse]):
    """A StreamSession that has a config and unanswered items, each with an id."""

    def __init__(
        self, registry: Registry, requests: Iterator[bytes], call: Call, limits: StreamLimits
    ) -> None:
        super().__init__(requests, call, limits)
        self._registry = registry.seen_by(call.caller)
        self._config: StreamConfig | None = None
        self._unanswered: dict[str, Item] = {}  # in the order of reading

    def _read(self) -> None:
        config = StreamConfig.parse(next(self._requests, b""), self._registry, self._call)
        self._call.when_over(config.model.gate.listen(self.drain))
        with self._changed:
            self._config = config
            self._changed.notify_all()
        for raw in self._requests:
            self._accept(parse(pb.StreamClassifyRequest, raw), config)
            if not self._wait_for_window(config.model.limits.stream_window_items):
                return

    def _write(self) -> Iterator[pb.StreamClassifyResponse]:
        config = self._wait_for_config()
        if config is not None:
            yield from self._send(started(config))
            for items in self._results(config):
                yield from self._send(results_of(config, items), len(items))

    def _withdraw(self) -> None:
        with self._changed:
            config, unanswered = self._config, list(self._unanswered.values())
        if config is not None:
            config.model.dispatcher.withdraw(parts_of(unanswered))

    def _accept(self, request: pb.StreamClassifyRequest, config: StreamConfig) -> None:
        """Read the items of a message, up to the first bad id, and queue them for the engine.

        Raises RequestError when the message ends the stream.
        """
        read_s = time.monotonic()
        model = config.model
        messages = items_of(request, model.limits.stream_items_per_message)
        ids = [message.id for message in messages]
        count, bad_id = self._good_ids(ids)
        texts = [text_of(message.input) for message in messages[:count]]
        deadline_s = read_s + config.item_timeout_s
        items = read_items(
            ClassifyRequest.of(model, config.options, texts, "items.items[{place}].input.{name}"),
            Submission(self._call.caller, self._inbox, read_s, deadline_s, flow=self),
        )
        with self._changed:
            if not self._reading:
                return
            for item, item_id in zip(items, ids[:count], strict=True):
                item.id = item_id
                self._unanswered[item_id] = item
            self._enter_window(count)
        bad: list[Pending] = [item for item in items if item.error]
        if bad:
            self._inbox.put(bad)
        model.dispatcher.submit_when_room(
            parts_of(item for item in items if not item.error), lambda: self._over
        )
        if bad_id is not None:
            raise bad_id

    def _good_ids(self, ids: Sequence[str]) -> tuple[int, RequestError | None]:
        """The number of ids before the first bad one, and the error of the bad one."""
        with self._changed:
            taken = set(self._unanswered).intersection(ids)
        for place, item_id in enumerate(ids):
            size = len(item_id.encode())
            field = f"items.items[{place}].id"
            if not 1 <= size <= MAX_ID_BYTES:
                return place, RequestError(
                    Reason.BAD_ID,
                    f"the id has {size} bytes, not 1 to {MAX_ID_BYTES}",
                    field=field,
                    metadata={"bytes": str(size)},
                )
            if item_id in taken:
                return place, RequestError(
                    Reason.BAD_ID, "an unanswered item has the same id", field=field
                )
            taken.add(item_id)
        return len(ids), None

    def _wait_for_config(self) -> StreamConfig | None:
        with self._changed:
            self._changed.wait_for(lambda: self._config is not None or not self._reading)
            return self._config

    def _results(self, config: StreamConfig) -> Iterator[list[Item]]:
        """The ended items of each results message, as soon as they end, until the stream ends."""
        ended: list[Item] = []
        while True:
            with self._changed:
                if self._over:
                    return
                if config.in_order:
                    ended = list(takewhile(lambda item: item.ended, self._unanswered.values()))
                for item in ended:
                    del self._unanswered[item.id]
                is_last = not self._reading and not self._unanswered
            yield from split(ended, config.results_per_message)
            if is_last:
                return
            ended = ended_items(self._inbox.get())
            while not self._inbox.empty():
                ended += ended_items(self._inbox.get())
