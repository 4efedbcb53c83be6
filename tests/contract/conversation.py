"""One StreamClassify call, driven step by step."""

import queue
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from classwire.v1 import classwire_pb2 as pb
from tests.contract.engines import PATIENCE_S

STREAM_CLASSIFY = "/classwire.v1.ClassifyService/StreamClassify"


def item(item_id: str, text: str) -> pb.StreamItem:
    """A single text of a stream."""
    return pb.StreamItem(id=item_id, input=pb.TextInput(text=text))


class Conversation:
    """A stream whose test sends and reads each message; leaving the block cancels the call."""

    def __init__(self, channel: grpc.Channel, **config: Any) -> None:
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.taken = 0
        method: grpc.StreamStreamMultiCallable[bytes, bytes]
        method = channel.stream_stream(STREAM_CLASSIFY)
        metadata = config.pop("metadata", ())
        self.call = method(self._requests(), timeout=2 * PATIENCE_S, metadata=metadata)
        if config.pop("start", True):
            self.send(pb.StreamClassifyRequest(config=pb.StreamConfig(**config)))

    def _requests(self) -> Iterator[bytes]:
        while (message := self._outbox.get()) is not None:
            self.taken += 1
            yield message

    def send(self, message: pb.StreamClassifyRequest | bytes) -> None:
        """Send any message, or any bytes."""
        self._outbox.put(message if isinstance(message, bytes) else message.SerializeToString())

    def send_items(self, *items: pb.StreamItem) -> None:
        """Send items in one message."""
        self.send(pb.StreamClassifyRequest(items=pb.StreamItems(items=items)))

    def half_close(self) -> None:
        """Close the sending side."""
        self._outbox.put(None)

    def read(self) -> pb.StreamClassifyResponse:
        """The next message."""
        return pb.StreamClassifyResponse.FromString(next(self.call))

    def read_started(self) -> pb.StreamStarted:
        """The next message, which must be the first of the stream."""
        message = self.read()
        assert message.WhichOneof("event") == "started"
        return message.started

    def read_results(self, count: int) -> list[pb.StreamResult]:
        """The next results: at least `count`, and all of the last message."""
        results: list[pb.StreamResult] = []
        while len(results) < count:
            message = self.read()
            assert message.WhichOneof("event") == "results"
            assert message.results.results
            results.extend(message.results.results)
        return results

    def read_to_end(self) -> list[pb.StreamResult]:
        """All further results; the stream must end with OK, else its RpcError is raised."""
        results: list[pb.StreamResult] = []
        for raw in self.call:
            message = pb.StreamClassifyResponse.FromString(raw)
            results.extend(message.results.results)
        assert self.call.code() is grpc.StatusCode.OK
        return results

    def cancel(self) -> None:
        """Cancel the call."""
        self.call.cancel()
        self._outbox.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()
