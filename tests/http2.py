"""HTTP/2 frame by frame, for callers that behave unlike gRPC's own client."""

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
        """Return the frame's bytes."""
        head = len(self.payload).to_bytes(3, "big") + bytes((self.kind, self.flags))
        return head + self.stream.to_bytes(4, "big") + self.payload


def request(path: str, stream: int = 1) -> Frame:
    """Return the headers of a gRPC call."""
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
    """Encode header fields, each of less than 127 bytes, as literals without a table."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields.items())


def _string(text: str) -> bytes:
    return bytes((len(text.encode()),)) + text.encode()


def field_of(headers: Frame, name: str) -> str:
    """Return the value of a header field; empty when it is missing or Huffman-coded."""
    _, found, rest = headers.payload.partition(_string(name))
    return rest[1 : 1 + rest[0]].decode(errors="replace") if found and rest else ""


def messages(*raw: bytes) -> bytes:
    """Return messages in gRPC's framing."""
    return b"".join(b"\0" + len(message).to_bytes(4, "big") + message for message in raw)


def settings(**values: int) -> Frame:
    """Return a SETTINGS frame: `settings(initial_window_size=0)`."""
    numbers = {"header_table_size": HEADER_TABLE_SIZE, "initial_window_size": INITIAL_WINDOW_SIZE}
    pairs = (struct.pack(">HI", numbers[name], value) for name, value in values.items())
    return Frame(SETTINGS, 0, 0, b"".join(pairs))


def window_update(stream: int, size_bytes: int) -> Frame:
    """Return a WINDOW_UPDATE frame, which lets the server send `size_bytes` more."""
    return Frame(WINDOW_UPDATE, 0, stream, size_bytes.to_bytes(4, "big"))


class Connection:
    """A connection to a server of this machine, closed at the end of the block.

    The server may send `window_bytes` in each stream, and we may send `may_send_bytes` in stream
    1. All waiting ends after `patience_s` with TimeoutError.
    """

    def __init__(
        self, port: int, patience_s: float, window_bytes: int = DEFAULT_WINDOW_BYTES
    ) -> None:
        self.received: list[Frame] = []
        self.sent_bytes = 0
        self._window_bytes = DEFAULT_WINDOW_BYTES  # of each stream that we open
        self._stream_credit_bytes = DEFAULT_WINDOW_BYTES
        self._connection_credit_bytes = DEFAULT_WINDOW_BYTES
        self._socket = socket.create_connection(("127.0.0.1", port), patience_s)
        self._stream = self._socket.makefile("rb")
        # Without a table, all header fields come as literals.
        opening = settings(header_table_size=0, initial_window_size=window_bytes)
        self.send_bytes(PREFACE + opening.encode())

    @property
    def may_send_bytes(self) -> int:
        """Data bytes that the server's window still allows."""
        credit_bytes = min(self._stream_credit_bytes, self._connection_credit_bytes)
        return credit_bytes - self.sent_bytes

    def send_bytes(self, raw: bytes) -> None:
        """Send any bytes."""
        self._socket.sendall(raw)

    def send(self, *frames: Frame) -> None:
        """Send frames unchanged."""
        self.send_bytes(b"".join(frame.encode() for frame in frames))

    def send_data(self, data: bytes, *, end: bool = False) -> None:
        """Send data of stream 1, regardless of flow control."""
        parts = [data[at : at + MAX_FRAME_BYTES] for at in range(0, len(data), MAX_FRAME_BYTES)]
        for number, part in enumerate(parts or [b""], start=1):
            is_last = end and number >= len(parts)
            self.send(Frame(DATA, END_STREAM if is_last else 0, 1, part))
        self.sent_bytes += len(data)

    def read(self) -> Frame | None:
        """Return the next frame, or None when the server has closed; answer settings and pings."""
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
        """Return the next frame of a type with these flags set."""
        while (frame := self.read()) is not None:
            if frame.kind == kind and frame.flags & flags == flags:
                return frame
        raise EOFError("the server has closed the connection")

    def meet(self) -> None:
        """Wait until the server has read all that was sent, and we all that it sent before.

        Uses SETTINGS, which the server acknowledges like a ping and which gRPC does not limit.
        """
        self.send(Frame(SETTINGS, 0, 0, b""))
        self.read_until(SETTINGS, ACK)

    def data_bytes(self) -> int:
        """Data bytes received so far."""
        return sum(len(frame.payload) for frame in self.received if frame.kind == DATA)

    def trailer(self, name: str) -> str:
        """Return a field of the last headers; empty when it is missing."""
        return field_of(next(f for f in reversed(self.received) if f.kind == HEADERS), name)

    def close(self, *, abruptly: bool = False) -> None:
        """Close the socket; abruptly, as a killed process with unread data does."""
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
