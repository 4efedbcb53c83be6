"""HTTP/2 frame by frame, for what gRPC's own client cannot do."""

import socket
import struct
from types import TracebackType
from typing import NamedTuple, Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY = range(8)
WINDOW_UPDATE, CONTINUATION = 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
DEFAULT_WINDOW_BYTES = 65_535
LARGEST_WINDOW_BYTES = (1 << 31) - 1
MAX_FRAME_BYTES = 16_384


class Frame(NamedTuple):
    """One frame: its type, flags, stream (0 for the connection) and payload."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    def encode(self) -> bytes:
        """The frame's bytes."""
        head = len(self.payload).to_bytes(3, "big") + bytes((self.kind, self.flags))
        return head + self.stream.to_bytes(4, "big") + self.payload


def request(path: str, stream: int = 1) -> Frame:
    """The headers of a gRPC call."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    return Frame(HEADERS, END_HEADERS, stream, hpack(fields))


def hpack(fields: dict[str, str]) -> bytes:
    """Header fields as literals without a table; each string has less than 127 bytes."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields.items())


def _string(text: str) -> bytes:
    return bytes((len(text.encode()),)) + text.encode()


def field_of(headers: Frame, name: str) -> str:
    """The value of a header field; empty if it is missing or compressed."""
    _, found, rest = headers.payload.partition(_string(name))
    return rest[1 : 1 + rest[0]].decode(errors="replace") if found and rest else ""


def messages(*raw: bytes) -> bytes:
    """Messages as gRPC frames them."""
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in raw)


def settings(**values: int) -> Frame:
    """A SETTINGS frame: `settings(initial_window_size=0)`."""
    numbers = {"header_table_size": HEADER_TABLE_SIZE, "initial_window_size": INITIAL_WINDOW_SIZE}
    pairs = (struct.pack(">HI", numbers[name], value) for name, value in values.items())
    return Frame(SETTINGS, 0, 0, b"".join(pairs))


def window_update(stream: int, size_bytes: int) -> Frame:
    """A WINDOW_UPDATE frame: the server may send `size_bytes` more."""
    return Frame(WINDOW_UPDATE, 0, stream, size_bytes.to_bytes(4, "big"))


class Connection:
    """A connection to a server on this machine; leaving the block closes it.

    `window_bytes` is how much the server may send in each stream. Waits end after `patience_s`
    with TimeoutError.
    """

    def __init__(
        self, port: int, patience_s: float, window_bytes: int = DEFAULT_WINDOW_BYTES
    ) -> None:
        self.received: list[Frame] = []
        self.sent_bytes = 0
        self._window_bytes = DEFAULT_WINDOW_BYTES  # that the server grants each stream
        self._stream_credit_bytes = DEFAULT_WINDOW_BYTES
        self._connection_credit_bytes = DEFAULT_WINDOW_BYTES
        self._socket = socket.create_connection(("127.0.0.1", port), patience_s)
        self._stream = self._socket.makefile("rb")
        # Without a table, the server sends all header fields as literals.
        opening = settings(header_table_size=0, initial_window_size=window_bytes)
        self.send_bytes(PREFACE + opening.encode())

    @property
    def may_send_bytes(self) -> int:
        """How much more data the server lets the caller send in stream 1."""
        credit_bytes = min(self._stream_credit_bytes, self._connection_credit_bytes)
        return credit_bytes - self.sent_bytes

    def send_bytes(self, raw: bytes) -> None:
        """Send any bytes."""
        self._socket.sendall(raw)

    def send(self, *frames: Frame) -> None:
        """Send frames."""
        self.send_bytes(b"".join(frame.encode() for frame in frames))

    def send_data(self, data: bytes, *, end: bool = False) -> None:
        """Send data of stream 1, whatever flow control allows."""
        parts = [data[at : at + MAX_FRAME_BYTES] for at in range(0, len(data), MAX_FRAME_BYTES)]
        for number, part in enumerate(parts or [b""], start=1):
            is_last = end and number >= len(parts)
            self.send(Frame(DATA, END_STREAM if is_last else 0, 1, part))
        self.sent_bytes += len(data)

    def read(self) -> Frame | None:
        """The next frame, None if the server has closed; answers settings and pings."""
        head = self._stream.read(9)
        if len(head) < 9:
            return None
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:], "big")
        frame = Frame(kind, flags, stream, self._stream.read(size))
        self._account(frame)
        self.received.append(frame)
        return frame

    def read_until(self, kind: int, flags: int = 0) -> Frame:
        """The next frame of this type with these flags. Raises EOFError if the server closes."""
        while (frame := self.read()) is not None:
            if frame.kind == kind and frame.flags & flags == flags:
                return frame
        raise EOFError("the server has closed the connection")

    def synchronize(self) -> None:
        """Wait until the server has read all that was sent, and read what it sent before.

        Sends SETTINGS, not PING: gRPC closes connections that ping too often.
        """
        self.send(Frame(SETTINGS, 0, 0, b""))
        self.read_until(SETTINGS, ACK)

    def data_bytes(self) -> int:
        """Size of all data received."""
        return sum(len(frame.payload) for frame in self.received if frame.kind == DATA)

    def trailer(self, name: str) -> str:
        """A field of the last headers received; empty if they lack it."""
        return field_of(next(f for f in reversed(self.received) if f.kind == HEADERS), name)

    def close(self, *, abruptly: bool = False) -> None:
        """Close the socket; `abruptly` with a reset, as a killed process does."""
        if abruptly:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()
        self._socket.close()

    def _account(self, frame: Frame) -> None:
        if frame.kind == SETTINGS and not frame.flags & ACK:
            for number, value in struct.iter_unpack(">HI", frame.payload):
                if number == INITIAL_WINDOW_SIZE:
                    self._stream_credit_bytes += value - self._window_bytes
                    self._window_bytes = value
            self.send(Frame(SETTINGS, ACK, 0, b""))
        elif frame.kind == PING and not frame.flags & ACK:
            self.send(Frame(PING, ACK, 0, frame.payload))
        elif frame.kind == WINDOW_UPDATE:
            size_bytes = int.from_bytes(frame.payload, "big")
            if frame.stream:
                self._stream_credit_bytes += size_bytes
            else:
                self._connection_credit_bytes += size_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
