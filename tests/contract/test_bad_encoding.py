"""Malformed messages, sent as raw bytes, since stubs cannot send them."""

from collections.abc import Callable
from typing import TypeAlias

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation, item
from tests.contract.engines import PATIENCE_S
from tests.contract.failures import SECRET, invalid, item_failure, refusal

Raw: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"

MARKER = b"xylomancy"


def broken(message: pb.ClassifyRequest | pb.StreamClassifyRequest, by: bytes) -> bytes:
    """The bytes of a message, with its marker replaced by as many other bytes."""
    raw = message.SerializeToString()
    assert raw.count(MARKER) == 1
    return raw.replace(MARKER, by.ljust(len(MARKER), b"x"))


request = pb.ClassifyRequest(input=pb.TextInput(text=MARKER.decode() + SECRET[0]))
BROKEN = {
    "no message": b"\xff\xff\xff\xff",
    "cut off": request.SerializeToString()[:-1],
    "Latin-1": broken(request, "déjà vu".encode("latin-1")),
    "half of a surrogate pair": broken(request, b"\xed\xa0\x80"),
    "overlong": broken(request, b"\xc0\xaf"),
    "a cut-off character": broken(request, b"xxxxxxxx\xf0"),
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize(
    "method", ["Classify", "BatchClassify", "Tokenize", "Rank", "ZeroShotClassify"]
)
def test_unary(channel: grpc.Channel, classify: Classify, method: str, raw: bytes) -> None:
    """The call gets BAD_ENCODING, not INTERNAL; the next is answered."""
    call: Raw = channel.unary_unary(f"/classwire.v1.ClassifyService/{method}")

    assert refusal(lambda: call(raw, timeout=PATIENCE_S)) == invalid("BAD_ENCODING")
    assert classify("I love it").result.scores


@pytest.mark.parametrize("method", ["ListModels", "GetModel", "GetServerInfo"])
def test_model_service(channel: grpc.Channel, method: str) -> None:
    """ModelService rejects malformed messages too."""
    call: Raw = channel.unary_unary(f"/classwire.v1.ModelService/{method}")

    failure = refusal(lambda: call(BROKEN["no message"], timeout=PATIENCE_S))

    assert failure == invalid("BAD_ENCODING")


@pytest.mark.parametrize("raw", [BROKEN["no message"], b"\x0a\x01\xe9"], ids=["none", "Latin-1"])
def test_standard_services(channel: grpc.Channel, raw: bytes) -> None:
    """Health and reflection reject malformed messages and keep working."""
    check: Raw = channel.unary_unary("/grpc.health.v1.Health/Check")
    watch: grpc.UnaryStreamMultiCallable[bytes, bytes]
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")
    reflect: grpc.StreamStreamMultiCallable[bytes, bytes]
    reflect = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )

    for call in (
        lambda: check(raw, timeout=PATIENCE_S),
        lambda: next(watch(raw, timeout=PATIENCE_S)),
        lambda: next(reflect(iter([raw]), timeout=PATIENCE_S)),
    ):
        assert refusal(call) == invalid("BAD_ENCODING")
    assert check(b"", timeout=PATIENCE_S)
    assert next(reflect(iter([b""]), timeout=PATIENCE_S))


@pytest.mark.parametrize("name", ["no message", "cut off"])
def test_config_of_a_stream(converse: Callable[..., Conversation], name: str) -> None:
    """A stream whose first message is malformed ends with BAD_ENCODING."""
    stream = converse(start=False)
    stream.send(BROKEN[name])

    assert refusal(stream.read) == invalid("BAD_ENCODING")


@pytest.mark.parametrize("by", [b"\xe9", b"\xed\xa0\x80"], ids=["Latin-1", "surrogate"])
def test_items_of_a_stream(
    converse: Callable[..., Conversation], classify: Classify, by: bytes
) -> None:
    """A malformed message ends the stream, after the answers to earlier items."""
    items = pb.StreamItems(items=[item("a", "a"), item("b", MARKER.decode())])
    stream = converse()
    stream.send_items(item("first", "I love it"), item("second", " "))
    stream.send(broken(pb.StreamClassifyRequest(items=items), by))
    stream.read_started()

    first, second = sorted(stream.read_results(2), key=lambda result: result.id)

    assert refusal(stream.read) == invalid("BAD_ENCODING")
    assert first.outcome.classification.scores
    assert item_failure(second.outcome).reason == "EMPTY_TEXT"
    assert classify("I love it").result.scores


def test_unknown_fields_are_skipped(channel: grpc.Channel) -> None:
    """The server ignores unknown fields."""
    call: Raw = channel.unary_unary("/classwire.v1.ClassifyService/Classify")
    later = pb.ClassifyRequest(input=pb.TextInput(text="I love it")).SerializeToString()
    later += b"\xfa\x07\x03new"  # field 127, three bytes

    assert pb.ClassifyResponse.FromString(call(later, timeout=PATIENCE_S)).result.scores
