"""Streams that always have a number of unanswered texts: an instrument."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from benchmarks import checkpoints
from benchmarks.instrument import MeasurementError, serve
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

READY_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0


class FullStream:
    """One stream with one item a message; an answer makes room for the next item.

    It repeats more texts than `unanswered`, since the server computes equal waiting texts once.
    A thread of its own reads the answers.
    """

    def __init__(self, stub: Any, texts: Sequence[str], unanswered: int) -> None:
        assert len(texts) > unanswered
        self.answers: list[tuple[float, int, int]] = []  # time, tokens, unanswered texts
        self._inputs = [pb.TextInput(text=text) for text in texts]
        self._room = threading.Semaphore(unanswered)
        self._sent = 0
        self._answered = 0
        self._failure = ""
        self._ends = False
        self._call = stub.StreamClassify(self._requests())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def end(self) -> None:
        """Cancel the stream. Raises MeasurementError when it has ended already, or when an item has
        failed.
        """
        self._ends = True
        self._call.cancel()
        self._room.release()
        self._reader.join(END_TIMEOUT_S)
        if self._failure:
            raise MeasurementError(self._failure)

    def _requests(self) -> Iterator[pb.StreamClassifyRequest]:
        yield pb.StreamClassifyRequest(config=pb.StreamConfig())
        for number, input_ in enumerate(itertools.cycle(self._inputs)):
            self._room.acquire()
            if self._ends:
                return
            self._sent += 1
            item = pb.StreamItem(id=str(number), input=input_)
            yield pb.StreamClassifyRequest(items=pb.StreamItems(items=[item]))

    def _read(self) -> None:
        try:
            for answer in self._call:
                results = answer.results.results
                if not results:
                    continue
                tokens = sum(result.outcome.classification.token_count for result in results)
                if any(result.outcome.HasField("error") for result in results):
                    self._failure = "an item failed"
                self._answered += len(results)
                self.answers.append((time.monotonic(), tokens, self._sent - self._answered))
                self._room.release(len(results))
        except grpc.RpcError as error:
            if not self._ends:
                self._failure = f"a stream ended: {error.code().name}"


class FullStreams:
    """Several streams on one channel. For use by one thread."""

    def __init__(self) -> None:
        self._channel: grpc.Channel | None = None
        self._streams: list[FullStream] = []

    def begin(self, target: str, lengths: Sequence[int], unanswered: Sequence[int]) -> None:
        """Start a stream for each number of unanswered texts."""
        self._channel = grpc.insecure_channel(target)
        grpc.channel_ready_future(self._channel).result(READY_TIMEOUT_S)
        stub = ClassifyServiceStub(self._channel)
        needed = [2 * number for number in unanswered]
        sizes = itertools.islice(itertools.cycle(lengths), sum(needed))
        texts = iter(checkpoints.texts(list(sizes), checkpoints.words()))
        self._streams = [
            FullStream(stub, list(itertools.islice(texts, count)), number)
            for count, number in zip(needed, unanswered, strict=True)
        ]

    def end(self) -> list[list[tuple[float, int, int]]]:
        """End the streams.

        Returns the answers of each: monotonic time, tokens, and unanswered texts at that time.
        Raises MeasurementError.
        """
        assert self._channel is not None
        for stream in self._streams:
            stream.end()
        self._channel.close()
        return [stream.answers for stream in self._streams]


if __name__ == "__main__":
    streams = FullStreams()
    serve({"begin": streams.begin, "end": streams.end})
