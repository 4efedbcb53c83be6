"""Compressed requests and answers; unknown, broken and malicious compression."""

import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire.v1.classwire_pb2_grpc import ClassifyServiceStub
from classwire_server.server import Server
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine
from tests.http2 import DATA, END_STREAM, HEADERS, MAX_FRAME_BYTES, Connection, hpack, request

CLASSIFY = "/classwire.v1.ClassifyService/Classify"
IDENTITY, COMPRESSED = 0, 1
TEXT = pb.ClassifyRequest(input=pb.TextInput(text="I love it")).SerializeToString()
MEBIBYTE = 1 << 20


def answer(
    server: Server, message: bytes, fields: dict[str, str], flag: int = COMPRESSED
) -> Connection:
    """The connection of one finished call with this message and these header fields."""
    with Connection(server.port, PATIENCE_S) as connection:
        head = request(CLASSIFY)
        connection.send(head._replace(payload=head.payload + hpack(fields)))
        data = bytes((flag,)) + len(message).to_bytes(4, "big") + message
        for at in range(0, len(data), MAX_FRAME_BYTES):
            part = data[at : at + MAX_FRAME_BYTES]
            while connection.may_send_bytes < len(part):
                assert connection.read() is not None
            connection.send_data(part, end=at + len(part) == len(data))
        connection.read_until(HEADERS, END_STREAM)
        return connection


def answered_flag(connection: Connection) -> int:
    """Whether the answer was compressed."""
    assert connection.trailer("grpc-status") == "0"
    return next(frame.payload[0] for frame in connection.received if frame.kind == DATA)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_requests(server: Server, classify: Classify, compression: grpc.Compression) -> None:
    """A compressed request gets the answer of an uncompressed one, in calls and streams."""
    text = "I love it " * 40
    with grpc.insecure_channel(server.target, compression=compression) as channel:
        asked = pb.ClassifyRequest(input=pb.TextInput(text=text))
        found = ClassifyServiceStub(channel).Classify(asked, timeout=PATIENCE_S)
        with Conversation(channel) as stream:
            stream.read_started()
            stream.send_items(item("a", text))
            (streamed,) = stream.read_results(1)

    expected = classify(text).result
    assert found.result == streamed.outcome.classification == expected


def test_answers(fake: Callable[..., Server]) -> None:
    """The server compresses answers if configured and accepted; by default it does not."""
    asked = pb.ClassifyRequest(input=pb.TextInput(text="a " * 200))
    asked.options.include_tokens = True  # gRPC sends messages that would not shrink uncompressed
    raw = asked.SerializeToString()
    plain, packing = fake(FakeEngine()), fake(FakeEngine(), compression="gzip")

    flags = [
        answered_flag(answer(server, raw, {"grpc-accept-encoding": accepted}, IDENTITY))
        for server in (plain, packing)
        for accepted in ("identity", "identity,deflate,gzip")
    ]

    assert flags == [IDENTITY, IDENTITY, IDENTITY, COMPRESSED]


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (TEXT, {"grpc-encoding": "snappy"}),
        (gzip.compress(TEXT), {}),
        (b"\x1f\x8bno gzip", {"grpc-encoding": "gzip"}),
        (zlib.compress(TEXT), {"grpc-encoding": "gzip"}),
    ],
    ids=["unknown", "not named", "broken", "another"],
)
def test_bad_compression(
    server: Server, classify: Classify, message: bytes, fields: dict[str, str]
) -> None:
    """Unknown or broken compression gets gRPC's own INTERNAL; the next call is answered."""
    ended = answer(server, message, fields)

    assert int(ended.trailer("grpc-status")) == grpc.StatusCode.INTERNAL.value[0]
    assert not ended.trailer("grpc-status-details-bin")
    assert classify("I love it").result.scores


def test_bombs(server: Server, classify: Classify) -> None:
    """A small message that inflates over the limit is rejected before it takes the memory."""
    packer = zlib.compressobj(1, wbits=31)
    zeros = bytes(MEBIBYTE)
    bomb = b"".join([*(packer.compress(zeros) for _ in range(128)), packer.flush()])
    assert len(bomb) < server.config.max_message_bytes < 128 * MEBIBYTE
    status, peak = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def highest_bytes() -> int:
        (kibibytes,) = re.findall(r"VmHWM:\s+(\d+)", status.read_text())
        return int(kibibytes) << 10

    peak.write_text("5")  # reset the peak to the current size
    before_bytes = highest_bytes()

    ended = answer(server, bomb, {"grpc-encoding": "gzip"})

    assert int(ended.trailer("grpc-status")) == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert highest_bytes() - before_bytes < 64 * MEBIBYTE
    assert classify("I love it").result.scores
