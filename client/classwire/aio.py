"""`AsyncClient`: `Client` for asyncio, method by method."""

from __future__ import annotations

from ._connection import grpc_log  # noqa: F401
from .options import OffsetUnit, Truncation

# isort: split

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from ._calls import ranking, requests, unary, zero_shot
from ._calls.status import request_id_in
from ._calls.steps import Pause, Reply, Steps
from ._connection.channel import ChannelOptions, Target
from ._connection.credentials import Credentials, Token
from ._connection.environment import arguments_from_env
from ._connection.metadata import Metadata, pairs_of
from ._connection.readiness import Readiness
from ._connection.session import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Session
from ._streaming.asynchronous import AsyncStream
from ._streaming.reconnection import Reconnection
from ._streaming.state import StreamOptions, StreamState
from .errors import ClasswireError, UnusableClientError
from .options import ClassifyOptions, RankOptions, ZeroShotOptions
from .results import (
    Classification,
    Model,
    Outcome,
    Ranking,
    ServerInfo,
    StreamItem,
    StreamResult,
    TextInput,
    Tokenization,
    ZeroShotClassification,
)
from .tls import Tls

R = TypeVar("R")


class AsyncClient:
    """The asyncio client. Arguments, results, errors and retries are those of `Client`.

        async with AsyncClient("127.0.0.1:50051") as client:
            result = await client.classify("I really love this book")
            async for id_, index, outcome in client.classify_stream(texts):
                ...

    It belongs to the event loop of its first call, and may be made before that loop runs. Any
    number of tasks of the loop may use it at the same time. Interceptors are those of `grpc.aio`.
    """

    def __init__(
        self,
        target: Target = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: bool = True,
        metadata: Metadata | None = None,
        tls: bool | Tls = False,
        token: Token | None = None,
        allow_plaintext_token: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        compression: grpc.Compression | None = None,
        interceptors: Sequence[grpc.aio.ClientInterceptor] = (),
        options: ChannelOptions = (),
    ) -> None:
        shown = Credentials(tls, credentials, token, allow_plaintext_token)
        self._session = Session(target, timeout_s, metadata, retry, shown, options)
        self._how: dict[str, Any] = {
            "options": self._session.options,
            "compression": compression,
            "interceptors": list(interceptors),
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._made_stubs: unary.Stubs | None = None

    @classmethod
    def from_env(cls, **arguments: Any) -> Self:
        """Make a client from environment variables; as `Client.from_env`."""
        return cls(**{**arguments_from_env(), **arguments})

    async def classify(
        self,
        text: str | TextInput,
        text_pair: str | None = None,
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classification:
        """Score one text or pair; as `Client.classify`."""
        wanted = requests.classify_options(**options)
        return await self._run(unary.classify(text, text_pair, model, wanted), timeout_s, metadata)

    async def classify_batch(
        self,
        texts: Iterable[str | TextInput],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> list[Outcome]:
        """Score several texts; as `Client.classify_batch`."""
        wanted = requests.classify_options(**options)
        steps = unary.classify_batch(texts, model, wanted, self._session.limits)
        return await self._run(steps, timeout_s, metadata)

    def classify_stream(
        self,
        items: Iterable[str | TextInput | StreamItem] | AsyncIterable[str | TextInput | StreamItem],
        *,
        model: str | None = None,
        in_order: bool = False,
        window: int | None = None,
        item_timeout_s: float | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> AsyncGenerator[StreamResult, None]:
        """Score texts for as long as `items` yields them; as `Client.classify_stream`.

        `items` runs in a task of the event loop: use an async iterable if it may block. Leaving an
        `async for` early ends the stream when Python collects the generator; to end it at once, use
        `contextlib.aclosing`.
        """
        wanted = requests.classify_options(**options)
        self._session.check()
        config = StreamOptions(model, wanted, in_order, window, item_timeout_s).config()
        state = StreamState(config, window, Reconnection.of(self._session, timeout_s))
        own_metadata = pairs_of(metadata)
        wanted_items = requests.elements(items)
        source = (
            aiter(wanted_items) if isinstance(wanted_items, AsyncIterable) else iter(wanted_items)
        )
        return AsyncStream(
            self._session,
            state,
            source,
            lambda messages, call_timeout_s: self._stubs().classify.StreamClassify(
                messages, timeout=call_timeout_s, metadata=self._session.metadata(own_metadata)
            ),
        ).outcomes()

    async def tokenize(
        self,
        text: str | TextInput,
        text_pair: str | None = None,
        *,
        model: str | None = None,
        truncation: Truncation | None = None,
        offset_unit: OffsetUnit | None = None,
        window_tokens: int | None = None,
        overlap_tokens: int | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
    ) -> Tokenization:
        """Return the tokens that the model would read; as `Client.tokenize`."""
        wanted = requests.classify_options(
            truncation=truncation,
            offset_unit=offset_unit,
            window_tokens=window_tokens,
            overlap_tokens=overlap_tokens,
        )
        steps = unary.tokenize(text, text_pair, model, wanted)
        return await self._run(steps, timeout_s, metadata)

    async def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[RankOptions],
    ) -> Ranking:
        """Return documents in the order of their scores for a query; as `Client.rank`."""
        wanted = ranking.rank_options(**options)
        return await self._run(ranking.rank(query, documents, model, wanted), timeout_s, metadata)

    async def zero_shot(
        self,
        text: str,
        candidate_labels: Iterable[str],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ZeroShotOptions],
    ) -> ZeroShotClassification:
        """Score labels that the caller makes up; as `Client.zero_shot`."""
        wanted = zero_shot.zero_shot_options(**options)
        steps = zero_shot.zero_shot(text, candidate_labels, model, wanted)
        return await self._run(steps, timeout_s, metadata)

    async def models(
        self, *, timeout_s: float | None = None, metadata: Metadata | None = None
    ) -> list[Model]:
        """List all models, the default one first, then by name."""
        return await self._run(unary.list_models(), timeout_s, metadata)

    async def model(
        self,
        name: str | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
    ) -> Model:
        """Describe one model. Default: the server's default model."""
        return await self._run(unary.describe(name), timeout_s, metadata)

    async def server_info(
        self, *, timeout_s: float | None = None, metadata: Metadata | None = None
    ) -> ServerInfo:
        """Describe the server."""
        return await self._run(unary.server_info(), timeout_s, metadata)

    async def health(
        self,
        service: str | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
    ) -> unary.ServingStatus:
        """Return the health of the server, or of one of its services; as `Client.health`."""
        return await self._run(unary.health(service), timeout_s, metadata)

    async def wait_until_ready(
        self, timeout_s: float | None = None, *, metadata: Metadata | None = None
    ) -> None:
        """Wait until the server is SERVING; as `Client.wait_until_ready`."""
        deadline = self._session.deadline(timeout_s)
        readiness = Readiness(self._session.target, deadline)
        own_metadata = pairs_of(metadata)
        while True:
            try:
                with self._session.calling_async(), contextlib.ExitStack() as done:
                    watch = self._stubs().health.Watch(
                        health_pb2.HealthCheckRequest(),
                        timeout=deadline.left_s(),
                        metadata=self._session.metadata(own_metadata),
                    )
                    done.callback(watch.cancel)
                    async for response in watch:
                        if readiness.heard(response):
                            return
            except ClasswireError as error:
                readiness.failed(error)
            await self._pause(readiness.pause_s())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._session!r}"

    async def close(self) -> None:
        """Close the connection; running calls end with `CancelledError`. May be called again."""
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

    async def _run(self, steps: Steps[R], timeout_s: float | None, metadata: Metadata | None) -> R:
        stubs = self._stubs()
        deadline = self._session.deadline(timeout_s)
        all_metadata = self._session.metadata(pairs_of(metadata))
        actions = self._session.retried(steps, deadline)
        try:
            action = next(actions)
            while True:
                if isinstance(action, Pause):
                    await self._pause(action.seconds)
                    action = next(actions)
                    continue
                try:
                    with self._session.calling_async():
                        call = stubs.method(action)(
                            action.request, timeout=deadline.left_s(), metadata=all_metadata
                        )
                        response = await call
                        reply = Reply(response, request_id_in(await call.trailing_metadata()))
                except ClasswireError as error:
                    action = actions.throw(error)
                else:
                    action = actions.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result

    async def _pause(self, seconds: float) -> None:
        """Wait; UnusableClientError as soon as the client is closed."""
        closed = asyncio.Event()
        with self._session.told_of_close(closed.set), contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await closed.wait()
        self._session.check()

    def _stubs(self) -> unary.Stubs:
        """The stubs, made at the first call: a channel of grpc.aio belongs to its loop."""
        self._session.check()
        loop = asyncio.get_running_loop()
        if self._made_stubs is None:
            target, credentials = self._session.target, self._session.credentials.channel
            if credentials is None:
                self._channel = grpc.aio.insecure_channel(target, **self._how)
            else:
                self._channel = grpc.aio.secure_channel(target, credentials, **self._how)
            self._made_stubs, self._loop = unary.Stubs(self._channel), loop
        elif self._loop is not loop:
            raise UnusableClientError(
                "the AsyncClient belongs to the event loop of its first call: make one for each"
            )
        return self._made_stubs
