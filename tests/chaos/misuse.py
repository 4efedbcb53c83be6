"""Callers that misuse the server, each on a connection of its own."""

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from classwire._calls.status import from_rpc_error
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

from .known import Known

TIMEOUT_S = 30.0
NO_TIME_S = 0.003
STREAM_ITEMS = 64
FINE = "OK"

Act = Callable[["Misuse", grpc.Channel], object]


class Misuse:
    """Connects, misuses the server in the next way, and disconnects, at each call. For one
    thread.

    `done` counts; `unexpected` lists calls with an end that is not allowed.
    """

    def __init__(self, target: str, known: Known) -> None:
        self.done = 0
        self.unexpected: list[str] = []
        self._target = target
        self._known = known
        self._next: Iterator[tuple[Act, tuple[str, ...]]] = itertools.cycle(KINDS)

    def __call__(self) -> None:
        """Misuse the server in the next way."""
        act, endings = next(self._next)
        self.done += 1
        found = FINE
        with grpc.insecure_channel(self._target) as channel:
            try:
                act(self, channel)
            except grpc.FutureCancelledError:
                found = "CANCELLED"
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                found = str(failure.reason or failure.code.name)
        if found not in endings:
            self.unexpected.append(f"{act.__name__}: {found}")

    def text(self) -> str:
        """Return a valid text."""
        return self._known.text(self.done)

    def call_with_short_deadline(self, channel: grpc.Channel) -> None:
        """Call with almost no time."""
        ClassifyServiceStub(channel).Classify(_request(self.text()), timeout=NO_TIME_S)

    def cancel_call(self, channel: grpc.Channel) -> None:
        """Cancel a call."""
        call = ClassifyServiceStub(channel).Classify.future(
            _request(self.text()), timeout=TIMEOUT_S
        )
        call.cancel()
        call.result()

    def send_empty_text(self, channel: grpc.Channel) -> None:
        """Send an empty text."""
        ClassifyServiceStub(channel).Classify(_request(" "), timeout=TIMEOUT_S)

    def send_too_many_tokens(self, channel: grpc.Channel) -> None:
        """Send a text of more tokens than the model takes."""
        ClassifyServiceStub(channel).Classify(_request("book " * 600), timeout=TIMEOUT_S)

    def call_unknown_model(self, channel: grpc.Channel) -> None:
        """Call an unknown model."""
        request = _request(self.text())
        request.model = "another"
        ClassifyServiceStub(channel).Classify(request, timeout=TIMEOUT_S)

    def send_invalid_bytes(self, channel: grpc.Channel) -> None:
        """Send bytes that do not parse."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/classwire.v1.ClassifyService/Classify")
        method(b"\xff" * 100, timeout=TIMEOUT_S)

    def call_unknown_method(self, channel: grpc.Channel) -> None:
        """Call an unknown method."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/classwire.v1.ClassifyService/Guess")
        method(b"", timeout=TIMEOUT_S)

    def repeat_id(self, channel: grpc.Channel) -> None:
        """Use an id twice in a stream."""
        for _ in self._stream(channel, ["one", "one"]):
            pass

    def abandon_stream(self, channel: grpc.Channel) -> None:
        """Cancel in the middle of a stream."""
        call = self._stream(channel, map(str, range(STREAM_ITEMS)))
        for _, _ in zip(range(2), call, strict=False):
            pass
        call.cancel()

    def send_no_http2(self, channel: grpc.Channel) -> None:
        """Send bytes that are not HTTP/2, and close the connection."""
        host, _, port = self._target.rpartition(":")
        with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

    def _stream(self, channel: grpc.Channel, ids: Iterable[str]) -> Any:
        items = [pb.StreamItem(id=id_, input=pb.TextInput(text=self.text())) for id_ in ids]
        requests = [
            pb.StreamClassifyRequest(config=pb.StreamConfig()),
            pb.StreamClassifyRequest(items=pb.StreamItems(items=items)),
        ]
        return ClassifyServiceStub(channel).StreamClassify(iter(requests), timeout=TIMEOUT_S)


def _request(text: str) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(input=pb.TextInput(text=text))


KINDS: tuple[tuple[Act, tuple[str, ...]], ...] = (
    (
        Misuse.call_with_short_deadline,
        ("DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE", "OVERLOADED", FINE),
    ),
    (Misuse.cancel_call, ("CANCELLED", FINE)),
    (Misuse.send_empty_text, ("EMPTY_TEXT",)),
    (Misuse.send_too_many_tokens, ("TOO_MANY_TOKENS",)),
    (Misuse.call_unknown_model, ("UNKNOWN_MODEL",)),
    (Misuse.send_invalid_bytes, ("BAD_ENCODING",)),
    (Misuse.call_unknown_method, ("UNIMPLEMENTED",)),
    (Misuse.repeat_id, ("BAD_ID",)),
    (Misuse.abandon_stream, (FINE,)),
    (Misuse.send_no_http2, (FINE,)),
)
"""Each kind of misuse, with its allowed ends."""
