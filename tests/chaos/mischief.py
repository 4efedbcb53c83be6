"""Callers that misuse the server, each on a connection of its own."""

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grpc

from classwire._status import from_rpc_error
from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub

from .known import Known

TIMEOUT_S = 30.0
NO_TIME_S = 0.003
STREAM_ITEMS = 64
FINE = "OK"

Prank = Callable[["Mischief", grpc.Channel], object]


class Mischief:
    """Connects, misuses the server in the next way, and disconnects, at each call. For one
    thread.

    `done` counts; `unexpected` lists calls with an end that is not allowed.
    """

    def __init__(self, target: str, known: Known) -> None:
        self.done = 0
        self.unexpected: list[str] = []
        self._target = target
        self._known = known
        self._next: Iterator[tuple[Prank, tuple[str, ...]]] = itertools.cycle(PRANKS)

    def __call__(self) -> None:
        """Misuse the server in the next way."""
        prank, endings = next(self._next)
        self.done += 1
        found = FINE
        with grpc.insecure_channel(self._target) as channel:
            try:
                prank(self, channel)
            except grpc.FutureCancelledError:
                found = "CANCELLED"
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                found = str(failure.reason or failure.code.name)
        if found not in endings:
            self.unexpected.append(f"{prank.__name__}: {found}")

    def text(self) -> str:
        """Return a valid text."""
        return self._known.text(self.done)

    def hurry(self, channel: grpc.Channel) -> None:
        """Call with almost no time."""
        ClassifyServiceStub(channel).Classify(_request(self.text()), timeout=NO_TIME_S)

    def change_its_mind(self, channel: grpc.Channel) -> None:
        """Cancel a call."""
        call = ClassifyServiceStub(channel).Classify.future(
            _request(self.text()), timeout=TIMEOUT_S
        )
        call.cancel()
        call.result()

    def say_nothing(self, channel: grpc.Channel) -> None:
        """Send an empty text."""
        ClassifyServiceStub(channel).Classify(_request(" "), timeout=TIMEOUT_S)

    def say_too_much(self, channel: grpc.Channel) -> None:
        """Send a text of more tokens than the model takes."""
        ClassifyServiceStub(channel).Classify(_request("book " * 600), timeout=TIMEOUT_S)

    def ask_another(self, channel: grpc.Channel) -> None:
        """Call an unknown model."""
        request = _request(self.text())
        request.model = "another"
        ClassifyServiceStub(channel).Classify(request, timeout=TIMEOUT_S)

    def babble(self, channel: grpc.Channel) -> None:
        """Send bytes that do not parse."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/classwire.v1.ClassifyService/Classify")
        method(b"\xff" * 100, timeout=TIMEOUT_S)

    def invent(self, channel: grpc.Channel) -> None:
        """Call an unknown method."""
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/classwire.v1.ClassifyService/Guess")
        method(b"", timeout=TIMEOUT_S)

    def repeat_itself(self, channel: grpc.Channel) -> None:
        """Use an id twice in a stream."""
        for _ in self._stream(channel, ["one", "one"]):
            pass

    def leave(self, channel: grpc.Channel) -> None:
        """Cancel in the middle of a stream."""
        call = self._stream(channel, map(str, range(STREAM_ITEMS)))
        for _, _ in zip(range(2), call, strict=False):
            pass
        call.cancel()

    def hang_up(self, channel: grpc.Channel) -> None:
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


PRANKS: tuple[tuple[Prank, tuple[str, ...]], ...] = (
    (Mischief.hurry, ("DEADLINE_EXCEEDED", "EXPIRED_IN_QUEUE", "OVERLOADED", FINE)),
    (Mischief.change_its_mind, ("CANCELLED", FINE)),
    (Mischief.say_nothing, ("EMPTY_TEXT",)),
    (Mischief.say_too_much, ("TOO_MANY_TOKENS",)),
    (Mischief.ask_another, ("UNKNOWN_MODEL",)),
    (Mischief.babble, ("BAD_ENCODING",)),
    (Mischief.invent, ("UNIMPLEMENTED",)),
    (Mischief.repeat_itself, ("BAD_ID",)),
    (Mischief.leave, (FINE,)),
    (Mischief.hang_up, (FINE,)),
)
"""Each kind of misuse, with its allowed ends."""
