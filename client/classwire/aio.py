"""`AsyncClient`: `Client` for asyncio, method by method."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from . import _calls, _channel, _requests
from ._credentials import Credentials, Token
from ._readiness import Readiness
from ._requests import ClassifyOptions
from ._session import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Metadata, Session
from ._steps import Pause, Steps
from ._streaming.asynchronous import AsyncStream
from ._streaming.reconnection import Reconnection
from ._streaming.state import StreamOptions, StreamState
from .errors import ClasswireError, UnusableClient
from .results import Classification, Item, Model, Outcome, ServerInfo, Text, Tokenization
from .tls import Tls

R = TypeVar("R")


class AsyncClient:
    """A connection to one server, or to several that it balances over, for one event loop.

    It belongs to the event loop of its first call, and may be made before that runs. Any task of
    that loop may call any method, and several may at the same time. Arguments, results, errors and
    retries are those of `Client`; interceptors are `grpc.aio`'s.
    """

    def __init__(
        self,
        target: _channel.Target = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: bool = True,
        metadata: Metadata = (),
        tls: bool | Tls = False,
        token: Token | None = None,
        allow_plaintext_token: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        options: _channel.ChannelOptions = (),
    ) -> None:
        shown = Credentials(tls, credentials, token, allow_plaintext_token)
        self._session = Session(target, timeout_s, metadata, retry, shown)
        self._how: dict[str, Any] = {
            "options": _channel.channel_options([*shown.options, *options], retry=retry),
            "compression": compression,
            "interceptors": list(interceptors),
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._made_stubs: _calls.Stubs | None = None

    async def classify(
        self,
        text: str | Text,
        text_pair: str | None = None,
        *,
        model: str = "",
        timeout_s: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ClassifyOptions],
    ) -> Classification:
        """Score one text, or one pair; as `Client.classify`."""
        wanted = _requests.classify_options(**options)
        return await self._run(_calls.classify(text, text_pair, model, wanted), timeout_s, metadata)

    async def classify_batch(
        self,
        texts: Iterable[str | Text],
        *,
        model: str = "",
        timeout_s: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ClassifyOptions],
    ) -> list[Outcome]:
        """Score several texts: for each its classification or its error; as
        `Client.classify_batch`.
        """
        wanted = _requests.classify_options(**options)
        steps = _calls.classify_batch(texts, model, wanted, self._session.limits)
        return await self._run(steps, timeout_s, metadata)

    def classify_stream(
        self,
        items: Iterable[str | Text | Item] | AsyncIterable[str | Text | Item],
        *,
        model: str = "",
        in_order: bool = False,
        window: int | None = None,
        item_timeout_s: float | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[tuple[str, Outcome], None]:
        """Score texts for as long as `items` yields them: `(id, outcome)`; as
        `Client.classify_stream`.

        `items` runs in a task of its own on the event loop: one that blocks must be an async
        iterable. Leaving an `async for` early ends the stream once the generator is collected; to
        end it there and then, use `contextlib.aclosing`.
        """
        wanted = _requests.classify_options(**options)
        self._session.check()
        config = StreamOptions(model, wanted, in_order, window, item_timeout_s).config()
        state = StreamState(config, window, Reconnection.of(self._session, timeout_s))
        checked = _requests.metadata(metadata)
        wanted_items = _requests.elements(items)
        source = (
            aiter(wanted_items) if isinstance(wanted_items, AsyncIterable) else iter(wanted_items)
        )
        return AsyncStream(
            self._session,
            state,
            source,
            lambda requests, call_timeout_s: self._stubs().classify.StreamClassify(
                requests, timeout=call_timeout_s, metadata=self._session.metadata(checked)
            ),
        ).outcomes()

    async def tokenize(
        self,
        text: str | Text,
        text_pair: str | None = None,
        *,
        model: str = "",
        truncation: _requests.Truncation | None = None,
        offset_unit: _requests.OffsetUnit | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> Tokenization:
        """Ask what the model would see; as `Client.tokenize`."""
        steps = _calls.tokenize(text, text_pair, model, truncation, offset_unit)
        return await self._run(steps, timeout_s, metadata)

    async def models(
        self, *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> list[Model]:
        """List all models, the default one first, then by name."""
        return await self._run(_calls.list_models(), timeout_s, metadata)

    async def model(
        self, name: str = "", *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> Model:
        """Describe one model; "" is the default one."""
        return await self._run(_calls.describe(name), timeout_s, metadata)

    async def server_info(
        self, *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> ServerInfo:
        """Describe the server."""
        return await self._run(_calls.server_info(), timeout_s, metadata)

    async def health(
        self, service: str = "", *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> _calls.ServingStatus:
        """Ask for the health of the server, or of a service of it; as `Client.health`."""
        return await self._run(_calls.health(service), timeout_s, metadata)

    async def wait_until_ready(
        self, timeout_s: float | None = None, *, metadata: Metadata = ()
    ) -> None:
        """Wait until the server says SERVING; as `Client.wait_until_ready`."""
        deadline = self._session.deadline(timeout_s)
        readiness = Readiness(self._session.target, deadline)
        while True:
            try:
                with self._session.calling_async(), contextlib.ExitStack() as done:
                    watch = self._stubs().health.Watch(
                        health_pb2.HealthCheckRequest(),
                        timeout=deadline.left_s(),
                        metadata=self._session.metadata(metadata),
                        wait_for_ready=True,
                    )
                    done.callback(watch.cancel)
                    async for response in watch:
                        if readiness.heard(response):
                            return
            except ClasswireError as error:
                readiness.failed(error)
            await self._pause(readiness.pause_s())

    async def close(self) -> None:
        """Close the connection. Calls that are running end as cancelled. May be called again."""
        if self._session.close() and self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[R], timeout_s: float | None, metadata: Metadata) -> R:
        stubs = self._stubs()
        deadline = self._session.deadline(timeout_s)
        all_metadata = self._session.metadata(metadata)
        doings = self._session.retried(steps, deadline)
        try:
            doing = next(doings)
            while True:
                if isinstance(doing, Pause):
                    await self._pause(doing.seconds)
                    doing = next(doings)
                    continue
                try:
                    with self._session.calling_async():
                        response = await stubs.invoke(
                            doing, timeout=deadline.left_s(), metadata=all_metadata
                        )
                except ClasswireError as error:
                    doing = doings.throw(error)
                else:
                    doing = doings.send(response)
        except StopIteration as done:
            result: R = done.value
            return result

    async def _pause(self, seconds: float) -> None:
        """Wait; UnusableClient as soon as the client is closed."""
        closed = asyncio.Event()
        with self._session.told_of_close(closed.set), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await closed.wait()
        self._session.check()

    def _stubs(self) -> _calls.Stubs:
        """The stubs, made at the first call: a channel of grpc.aio belongs to its loop."""
        self._session.check()
        loop = asyncio.get_running_loop()
        if self._made_stubs is None:
            target, credentials = self._session.target, self._session.credentials.channel
            if credentials is None:
                self._channel = grpc.aio.insecure_channel(target, **self._how)
            else:
                self._channel = grpc.aio.secure_channel(target, credentials, **self._how)
            self._made_stubs, self._loop = _calls.Stubs(self._channel), loop
        elif self._loop is not loop:
            raise UnusableClient(
                "the AsyncClient belongs to the event loop of its first call: make one for each"
            )
        return self._made_stubs
