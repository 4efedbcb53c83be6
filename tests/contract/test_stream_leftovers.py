"""A stream that ends leaves nothing behind, in any state and by any kind of end."""

import os
import threading
from collections.abc import Callable

import grpc
import pytest

from classwire.v1 import classwire_pb2 as pb
from classwire_server.server import Server
from tests.contract.conversation import STREAM_CLASSIFY, Conversation, item
from tests.contract.engines import PATIENCE_S, FakeEngine, eventually, readers
from tests.contract.test_busy import waiting
from tests.http2 import (
    DATA,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Connection,
    Frame,
    messages,
    request,
    window_update,
)

WINDOW_BYTES = 300
"""The caller's window: room for `started` and the results of one or two items."""
PROTOCOL_ERROR, CANCEL = 1, 8

Reach = Callable[[Connection, FakeEngine, Server], None]


def before_config(connection: Connection, engine: FakeEngine, server: Server) -> None:
    """The stream is open; no message was sent."""
    before = len(readers())
    connection.send(request(STREAM_CLASSIFY))
    assert eventually(lambda: len(readers()) > before)


def after_config(connection: Connection, engine: FakeEngine, server: Server) -> None:
    """The caller has sent its config, the server `started`."""
    connection.send(request(STREAM_CLASSIFY))
    connection.send_data(encoded(pb.StreamClassifyRequest(config=pb.StreamConfig())))
    connection.read_until(DATA)


def queued(connection: Connection, engine: FakeEngine, server: Server) -> None:
    """The queue is full of items, and the reader waits for room for more."""
    in_engine(connection, engine, server)
    send_items(connection, *("love " * n for n in range(1, 10)))
    assert eventually(lambda: waiting(server) > 2)


def in_engine(connection: Connection, engine: FakeEngine, server: Server) -> None:
    """An item is being computed."""
    after_config(connection, engine, server)
    send_items(connection, "slow book")
    engine.wait_for(lambda engine: "slow book" in engine.texts)


def unread(connection: Connection, engine: FakeEngine, server: Server) -> None:
    """Results wait for the caller, which does not read them."""
    after_config(connection, engine, server)
    send_items(connection, *("love " * n for n in range(1, 10)))
    while connection.data_bytes() < WINDOW_BYTES:
        connection.read_until(DATA)


def draining(connection: Connection, engine: FakeEngine, server: Server) -> None:
    """The server drains and waits for the answer to an item."""
    in_engine(connection, engine, server)
    closed = threading.Event()
    server.gate.listen(closed.set)
    threading.Thread(target=server.stop, name="stopping").start()
    assert closed.wait(PATIENCE_S)


def half_close(connection: Connection, engine: FakeEngine) -> None:
    """The caller half-closes and reads the remaining results."""
    connection.send_data(b"", end=True)
    connection.send(window_update(1, 1 << 20))
    engine.release()
    connection.read_until(HEADERS, END_STREAM)
    connection.close()


def cancel(connection: Connection, engine: FakeEngine) -> None:
    """The caller cancels the call and keeps the connection."""
    connection.send(Frame(RST_STREAM, 0, 1, CANCEL.to_bytes(4, "big")))


def reset(connection: Connection, engine: FakeEngine) -> None:
    """A proxy resets the stream in the middle of a message."""
    connection.send_data(b"\0\0\0\1\0half a message")
    connection.send(Frame(RST_STREAM, 0, 1, PROTOCOL_ERROR.to_bytes(4, "big")))


def close(connection: Connection, engine: FakeEngine) -> None:
    """The caller's process ends."""
    connection.close()


def abort(connection: Connection, engine: FakeEngine) -> None:
    """The caller's connection is reset."""
    connection.close(abruptly=True)


STATES = (before_config, after_config, queued, in_engine, unread, draining)
ENDINGS = (half_close, cancel, reset, close, abort)


@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("reach", STATES, ids=lambda reach: reach.__name__)
def test_nothing_is_left(
    fake: Callable[..., Server],
    connect: Callable[[str], grpc.Channel],
    reach: Reach,
    end: Callable[[Connection, FakeEngine], None],
) -> None:
    """No thread, queued text, file descriptor or call in flight is left, and another stream may
    open, also while the engine still computes an item.
    """
    engine = FakeEngine()
    server = fake(engine, max_streams=1, max_queue_tokens=32, batch_tokens=1)
    channel = connect(server.target)
    begin(channel)
    assert eventually(lambda: not readers())
    threads, files = running(), descriptors()
    connection = Connection(server.port, PATIENCE_S, window_bytes=WINDOW_BYTES)

    reach(connection, engine, server)
    end(connection, engine)

    assert eventually(lambda: not readers())
    assert eventually(lambda: waiting(server) == 0)
    assert server.gate.wait_until_empty(PATIENCE_S)
    if reach is not draining:
        begin(channel)
    engine.release()
    connection.close()
    assert eventually(lambda: not running() - threads)
    assert eventually(lambda: descriptors() <= files)


def begin(channel: grpc.Channel) -> None:
    """Open a stream until it has started, then cancel it."""
    with Conversation(channel) as stream:
        stream.read_started()


def send_items(connection: Connection, *texts: str) -> None:
    """Send texts in one message."""
    items = pb.StreamItems(items=[item(text, text) for text in texts])
    connection.send_data(encoded(pb.StreamClassifyRequest(items=items)))


def encoded(message: pb.StreamClassifyRequest) -> bytes:
    """A message as it is sent."""
    return messages(message.SerializeToString())


def running() -> set[threading.Thread]:
    """All threads but the RPC threads, which stay for later calls."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("rpc")}


def descriptors() -> int:
    """Number of open files and sockets."""
    return len(os.listdir("/dev/fd"))
