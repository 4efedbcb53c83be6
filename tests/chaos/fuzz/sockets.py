"""Connections that send mutated frames, and the statuses that answer them."""

import socket
from collections import Counter
from collections.abc import Iterator

import grpc

from tests.http2 import HEADERS, Frame, field_of

from .frames import Conversationalist
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
        made = Conversationalist(f"{self._seed} connection {number}")
        opening, frames = made.opening(), list(made.frames(CALLS))
        with socket.create_connection(("127.0.0.1", self._port)) as connection:
            connection.settimeout(SILENCE_S)
            try:
                connection.sendall(opening)
                for _, raw in frames:
                    connection.sendall(raw)
            except OSError:  # the server closed first
                pass
            heard = _read(connection)
        for kind, count in Counter(kind for kind, _ in frames).items():
            self._tally.sent_frames(kind, count)
        for headers in _headers(heard):
            if code := field_of(headers, "grpc-status"):
                message = field_of(headers, "grpc-message")
                is_ours = b"grpc-status-details-bin" in headers.payload
                self._tally.told(CODES.get(code, code), message, is_ours, f"connection {number}")
        return len(frames)


def _read(connection: socket.socket) -> bytes:
    heard = b""
    try:
        while len(heard) < MOST_READ and (part := connection.recv(65_536)):
            heard += part
    except OSError:  # silence, or a reset
        pass
    return heard


def _headers(heard: bytes) -> Iterator[Frame]:
    """Return the HEADERS frames among the received bytes."""
    while len(heard) >= 9:
        size, stream = int.from_bytes(heard[:3], "big"), int.from_bytes(heard[5:9], "big")
        frame = Frame(heard[3], heard[4], stream, heard[9 : 9 + size])
        heard = heard[9 + size :]
        if frame.kind == HEADERS:
            yield frame
