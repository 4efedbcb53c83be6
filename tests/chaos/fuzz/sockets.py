"""Connections that send mutated frames, and the statuses that answer them."""

import socket
from collections import Counter
from collections.abc import Iterator

import grpc

from tests.http2 import HEADERS, Frame, field_of

from .frames import FrameMaker
from .tally import Tally

SILENCE_S = 0.02
"""Silence after which the server's answer counts as complete."""
MOST_READ = 1 << 20
CALLS = 4

CODES = {str(code.value[0]): code.name for code in grpc.StatusCode}


class Sockets:
    """Connections by number; the same seed and number send the same bytes. Any thread may open
    one.
    """

    def __init__(self, port: int, seed: int, tally: Tally) -> None:
        self._port = port
        self._seed = seed
        self._tally = tally

    def open(self, number: int) -> int:
        """Open a connection, send, read the answer, close; return the number of frames sent."""
        maker = FrameMaker(f"{self._seed} connection {number}")
        opening, frames = maker.opening(), list(maker.frames(CALLS))
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.settimeout(SILENCE_S)
            try:
                connection.sendall(opening)
                for _, raw in frames:
                    connection.sendall(raw)
            except OSError:  # the server closed first
                pass
            received = _read(connection)
        for kind, count in Counter(kind for kind, _ in frames).items():
            self._tally.sent_frames(kind, count)
        for headers in _headers(received):
            if code := field_of(headers, "grpc-status"):
                message = field_of(headers, "grpc-message")
                from_classwire = b"grpc-status-details-bin" in headers.payload
                self._tally.answered_frames(
                    CODES.get(code, code), message, from_classwire, f"connection {number}"
                )
        return len(frames)


def _read(connection: socket.socket) -> bytes:
    received = b""
    try:
        while len(received) < MOST_READ and (part := connection.recv(65_536)):
            received += part
    except OSError:  # silence, or a reset
        pass
    return received


def _headers(received: bytes) -> Iterator[Frame]:
    """Yield the HEADERS frames among the received bytes."""
    while len(received) >= 9:
        size, stream = int.from_bytes(received[:3], "big"), int.from_bytes(received[5:9], "big")
        frame = Frame(received[3], received[4], stream, received[9 : 9 + size])
        received = received[9 + size :]
        if frame.kind == HEADERS:
            yield frame
