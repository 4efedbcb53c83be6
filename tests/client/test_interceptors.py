"""The caller's interceptors see calls and streams, and can change them."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from classwire import AsyncClient, Client, InvalidInputError, Reason
from classwire.testing import FakeServer


class Details(grpc.ClientCallDetails):
    """Call details with one more metadata pair."""

    def __init__(self, details: Any) -> None:
        for name in ("method", "timeout", "credentials", "wait_for_ready", "compression"):
            setattr(self, name, getattr(details, name))
        self.metadata = (*(details.metadata or ()), ("x-intercepted", "yes"))


class Sync(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Adds metadata to calls and streams."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Continue with the changed details."""
        return continuation(Details(details), request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Continue with the changed details."""
        return continuation(Details(details), requests)


class AsyncUnary(grpc.aio.UnaryUnaryClientInterceptor):
    """Adds metadata to calls."""

    async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        """Continue with the changed details."""
        return await continuation(_more(details), request)


class AsyncStream(grpc.aio.StreamStreamClientInterceptor):
    """Adds metadata to streams."""

    async def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        """Continue with the changed details."""
        return await continuation(_more(details), requests)


def _more(details: Any) -> Any:
    metadata = grpc.aio.Metadata(*(details.metadata or ()), ("x-intercepted", "yes"))
    return details._replace(metadata=metadata)


def test_interceptors_of_a_client(server: FakeServer) -> None:
    """Interceptors wrap calls and streams, and see their errors."""
    server.fail_text("bad", Reason.TOO_MANY_TOKENS)
    with Client(server.target, interceptors=[Sync()]) as client:
        assert client.classify("text").label == "long"
        assert len(list(client.classify_stream(["text"] * 300))) == 300
        with pytest.raises(InvalidInputError) as raised:
            client.classify("bad")
        assert raised.value.reason is Reason.TOO_MANY_TOKENS
        stream = client.classify_stream(["text"] * 1_000_000)
        next(stream)
        stream.close()
    assert [call.metadata["x-intercepted"] for call in server.calls] == ["yes"] * 4


def test_interceptors_of_an_async_client(server: FakeServer) -> None:
    """Interceptors of grpc.aio wrap calls and streams of an AsyncClient."""
    server.fail_text("bad", Reason.TOO_MANY_TOKENS)

    async def run() -> None:
        interceptors = [AsyncUnary(), AsyncStream()]
        async with AsyncClient(server.target, interceptors=interceptors) as client:
            assert (await client.classify("text")).label == "long"
            assert len([id_ async for id_, _, _ in client.classify_stream(["text"] * 300)]) == 300
            with pytest.raises(InvalidInputError) as raised:
                await client.classify("bad")
            assert raised.value.reason is Reason.TOO_MANY_TOKENS
            stream = client.classify_stream(["text"] * 1_000_000)
            await anext(stream)
            await stream.aclose()

    asyncio.run(run())
    assert [call.metadata["x-intercepted"] for call in server.calls] == ["yes"] * 4
