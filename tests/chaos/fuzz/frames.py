"""Malformed HTTP/2 frames, written by hand."""

import random
from collections.abc import Callable, Iterator, Sequence

from tests.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Frame,
    hpack,
    messages,
    request,
)

from .mutation import Mutator
from .rpcs import RPCS

PADDED, PRIORITIZED = 8, 32
NAMES = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    PRIORITY: "PRIORITY",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PUSH_PROMISE: "PUSH_PROMISE",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
    CONTINUATION: "CONTINUATION",
}

ODD_FIELDS: Sequence[dict[str, str]] = (
    {"content-type": "text/html"},
    {"content-type": ""},
    {":method": "GET"},
    {":path": "/classwire.v1.ClassifyService/Summarize"},
    {":path": ""},
    {":path": "*"},
    {":scheme": "gopher"},
    {":authority": ""},
    {"te": "gzip"},
    {"grpc-timeout": "1n"},
    {"grpc-timeout": "99999999H"},
    {"grpc-timeout": "-1S"},
    {"grpc-timeout": "soon"},
    {"grpc-encoding": "gzip"},
    {"grpc-encoding": "unheard-of"},
    {"grpc-accept-encoding": ",,,"},
    {"content-length": "-1"},
    {"x-bin": "%%%not base64%%%"},
    {"Upper-Case": "is not allowed"},
    {"connection": "close"},
    {"": ""},
)


class FrameMaker:
    """Makes the frames of one connection, the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._mutator = Mutator(seed)
        self._breaks_http2 = (
            self._random.random() < 0.4
        )  # breaks HTTP/2 itself, which ends the connection

    def opening(self) -> bytes:
        """Return the first bytes of a connection, mostly valid ones."""
        if self._breaks_http2 and self._random.random() < 0.05:
            return self._random.randbytes(self._random.randint(0, 40))
        if self._breaks_http2 and self._random.random() < 0.05:
            return PREFACE[: self._random.randint(0, len(PREFACE))]
        # Without a table, statuses come as literals.
        return PREFACE + Frame(SETTINGS, 0, 0, bytes.fromhex("000100000000")).encode()

    def frames(self, calls: int) -> Iterator[tuple[str, bytes]]:
        """Yield the frames of some calls, each with its name: nearly valid ones, and some
        misplaced ones.
        """
        for call in range(calls):
            stream = 2 * call + 1
            for frame in self._call(stream):
                yield from self._sent(frame)
                if self._random.random() < 0.25:
                    yield from self._sent(self._stray(stream))

    def _call(self, stream: int) -> Iterator[Frame]:
        """Yield the frames of a nearly valid call."""
        rpc = self._random.choice(RPCS)
        if self._random.random() < 0.7:
            yield request(rpc.path, stream)
        else:
            yield self._odd_request(rpc.path, stream)
        data = messages(*(self._mutator.encoded(rpc.examples) for _ in range(1 + rpc.takes_stream)))
        if self._random.random() < 0.2:
            data = self._odd_data(data)
        place = self._random.randint(0, len(data))
        yield Frame(DATA, 0, stream, data[:place])
        if self._random.random() < 0.9:
            yield Frame(DATA, END_STREAM, stream, data[place:])

    def _odd_request(self, path: str, stream: int) -> Frame:
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        for name in self._random.sample(list(fields), self._random.choice((0, 0, 1))):
            del fields[name]
        fields |= self._random.choice(ODD_FIELDS)
        flags = END_HEADERS | self._random.choice((0, 0, END_STREAM))
        block = hpack(fields)
        if self._breaks_http2 and self._random.random() < 0.2:
            block = self._bytes_changed(block)
        if self._breaks_http2 and self._random.random() < 0.1:
            block += bytes((self._random.choice((0x80, 0xFF, 0x3F, 0x1F, 0x7F)),)) * 3
        return Frame(HEADERS, flags, stream, block)

    def _odd_data(self, data: bytes) -> bytes:
        odd: Sequence[Callable[[], bytes]] = (
            lambda: b"\1" + data[1:],  # claims to be compressed
            lambda: b"\xff" + data[1:],
            lambda: b"\0\xff\xff\xff\xff" + data[5:],  # claims a length of 4 GiB
            lambda: data[:3],
            lambda: data + data,
            lambda: b"",
            lambda: self._bytes_changed(data),
        )
        return self._random.choice(odd)()

    def _stray(self, stream: int) -> Frame:
        """Return a frame that is not part of the call."""
        some = self._random.randbytes(self._random.choice((0, 1, 4, 5, 8, 9, 100)))
        where = self._random.choice((0, stream, stream, stream + 2, 2, 0x7FFFFFFF))
        legal: Sequence[Callable[[], Frame]] = (
            lambda: Frame(RST_STREAM, 0, stream, self._word()),
            lambda: Frame(WINDOW_UPDATE, 0, self._random.choice((0, stream)), b"\0\0\1\0"),
            lambda: Frame(SETTINGS, 0, 0, b"\0\4" + self._word(most=(1 << 31) - 1)),
            lambda: Frame(SETTINGS, ACK, 0, b""),
            lambda: Frame(PING, self._random.choice((0, ACK)), 0, self._random.randbytes(8)),
            lambda: Frame(PRIORITY, 0, stream, self._word() + b"\x10"),
            lambda: Frame(DATA, 0, stream, some),
            lambda: Frame(DATA, END_STREAM, stream, b""),
            lambda: Frame(DATA, PADDED, stream, b"\3" + some + bytes(3)),
            lambda: Frame(self._random.randint(10, 255), 255, where, some),
        )
        illegal: Sequence[Callable[[], Frame]] = (
            lambda: Frame(RST_STREAM, 0, where, some),
            lambda: Frame(WINDOW_UPDATE, 0, where, self._word()),
            lambda: Frame(WINDOW_UPDATE, 0, where, some),
            lambda: Frame(SETTINGS, self._random.choice((0, 0, ACK)), 0, self._settings()),
            lambda: Frame(SETTINGS, 0, where, some),
            lambda: Frame(PING, 0, where, some),
            lambda: Frame(PRIORITY, 0, where, some),
            lambda: Frame(GOAWAY, 0, 0, self._word() * 2 + some),
            lambda: Frame(CONTINUATION, END_HEADERS, where, some),
            lambda: Frame(PUSH_PROMISE, END_HEADERS, where, some),
            lambda: Frame(DATA, self._random.randint(0, 255), where, some),
            lambda: Frame(DATA, PADDED, stream, b"\xff" + some),
            lambda: Frame(HEADERS, END_HEADERS | PADDED, stream, b"\xff" + some),
            lambda: Frame(HEADERS, END_HEADERS | PRIORITIZED, stream + 2, some),
            lambda: Frame(
                HEADERS, 0, stream + 2, some
            ),  # announces a CONTINUATION that never comes
        )
        return self._random.choice((*legal, *illegal) if self._breaks_http2 else legal)()

    def _settings(self) -> bytes:
        number = self._random.choice((1, 2, 3, 4, 5, 6, 8, 0xFE03, 0xFFFF))
        return number.to_bytes(2, "big") + self._word()

    def _word(self, most: int = (1 << 32) - 1) -> bytes:
        values = (0, 1, 8, 100, 16_384, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
        return min(self._random.choice(values), most).to_bytes(4, "big")

    def _sent(self, frame: Frame) -> Iterator[tuple[str, bytes]]:
        """Return the bytes of a frame, sometimes not as many as its header states."""
        raw = frame.encode()
        if self._breaks_http2 and self._random.random() < 0.05:
            raw = self._bytes_changed(raw)
        yield NAMES.get(frame.kind, "unknown"), raw

    def _bytes_changed(self, raw: bytes) -> bytes:
        place = self._random.randint(0, len(raw))
        return raw[:place] + self._random.randbytes(1) + raw[place + 1 :]
