"""Errors that end a stream, after the answers to earlier items."""

from collections.abc import Callable

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire_server.server import Server
from tests.contract.conftest import Classify
from tests.contract.conversation import Conversation, item
from tests.contract.engines import FakeEngine, eventually, readers
from tests.contract.failures import SECRET, Failure, invalid, refusal

BAD_IDS = {
    "empty": ("", invalid("BAD_ID", "items.items[1].id", bytes="0")),
    "129 bytes": ("é" * 64 + "x", invalid("BAD_ID", "items.items[1].id", bytes="129")),
    "used already": ("held", invalid("BAD_ID", "items.items[1].id")),
    "used in the same message": ("new", invalid("BAD_ID", "items.items[1].id")),
}


@pytest.mark.parametrize(("bad_id", "expected"), BAD_IDS.values(), ids=BAD_IDS.keys())
def test_bad_ids(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    bad_id: str,
    expected: Failure,
) -> None:
    """A bad id ends the stream, after the answers to the items before it."""
    engine = FakeEngine()
    server = fake(engine)
    with Conversation(connect(server.target)) as stream:
        stream.send_items(item("held", f"slow {SECRET}"))
        engine.wait_for(lambda engine: bool(engine.batches))
        stream.send_items(item("new", SECRET), item(bad_id, SECRET), item("behind", SECRET))
        assert eventually(lambda: not readers())
        engine.release()
        stream.read_started()

        answered = stream.read_results(2)

        assert [result.id for result in answered] == ["held", "new"]
        assert all(result.outcome.HasField("classification") for result in answered)
        assert refusal(stream.read) == expected


def test_longest_ids(converse: Callable[..., Conversation]) -> None:
    """An id of 128 bytes is legal."""
    stream = converse()
    stream.send_items(item("é" * 64, "I love it"))
    stream.half_close()

    assert [result.id for result in stream.read_to_end()] == ["é" * 64]


def test_ids_may_be_used_again_once_answered(converse: Callable[..., Conversation]) -> None:
    """A caller may use an id again as soon as it has the answer."""
    stream = converse()
    stream.read_started()
    for _ in range(50):
        stream.send_items(item("again", "I love it"))
        [result] = stream.read_results(1)
        assert result.outcome.HasField("classification")


@pytest.mark.parametrize(
    "first",
    [
        pb.StreamClassifyRequest(items=pb.StreamItems(items=[item("a", SECRET)])),
        pb.StreamClassifyRequest(),
    ],
    ids=["items", "no event"],
)
def test_streams_start_with_a_config(
    converse: Callable[..., Conversation], classify: Classify, first: pb.StreamClassifyRequest
) -> None:
    """A first message that is no config ends the stream."""
    stream = converse(start=False)
    stream.send(first)

    assert refusal(stream.read) == invalid("BAD_STREAM_START", "config")
    assert classify("I love it").result.scores


def test_streams_without_any_message(converse: Callable[..., Conversation]) -> None:
    """A stream that the caller closes before its config ends with BAD_STREAM_START."""
    stream = converse(start=False)
    stream.half_close()

    assert refusal(stream.read) == invalid("BAD_STREAM_START", "config")


@pytest.mark.parametrize(
    "second",
    [pb.StreamClassifyRequest(config=pb.StreamConfig()), pb.StreamClassifyRequest()],
    ids=["config", "no event"],
)
def test_one_config_then_items(
    converse: Callable[..., Conversation], second: pb.StreamClassifyRequest
) -> None:
    """A second config, or an empty event, ends the stream after the answers to earlier items."""
    stream = converse()
    stream.send_items(item("a", "I love it"))
    stream.send(second)
    stream.read_started()

    assert [result.id for result in stream.read_results(1)] == ["a"]
    assert refusal(stream.read) == invalid("BAD_STREAM_START", "config")


def test_too_many_items_in_a_message(
    converse: Callable[..., Conversation], classify: Classify
) -> None:
    """A message over max_items_per_message ends the stream after the answers to earlier items."""
    stream = converse()
    limit = stream.read_started().max_items_per_message
    assert limit == 4
    stream.send_items(*(item(str(index), "I love it") for index in range(limit)))
    stream.send_items(*(item(f"b{index}", SECRET) for index in range(limit + 1)))

    assert len(stream.read_results(limit)) == limit
    assert refusal(stream.read) == invalid(
        "TOO_MANY_ITEMS", "items.items", items="5", max_items="4"
    )
    assert classify("I love it").result.scores


def test_messages_without_items(converse: Callable[..., Conversation]) -> None:
    """A message without items is legal and gets no answer."""
    stream = converse()
    stream.send_items()
    stream.send_items(item("a", "I love it"))
    stream.half_close()

    assert [result.id for result in stream.read_to_end()] == ["a"]
