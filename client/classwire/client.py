"""`Client`: the synchronous client."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
from grpc_health.v1 import health_pb2

from . import _calls, _channel, _requests
from ._credentials import Credentials, Token
from ._readiness import Readiness
from ._requests import ClassifyOptions
from ._session import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Metadata, Session
from ._steps import Pause, Steps
from ._streaming.reconnection import Reconnection
from ._streaming.state import StreamOptions, StreamState
from ._streaming.threaded import ThreadedStream
from .errors import ClasswireError
from .results import Classification, Item, Model, Outcome, ServerInfo, Text, Tokenization
from .tls import Tls
from .v1 import classwire_pb2 as pb

R = TypeVar("R")


class Client:
    """A connection to one server, or to several that it balances over.

    Any thread may call any method, and several may at the same time; make one client and share it.
    It does not survive a fork: make it in the process that uses it. Use it as a context manager, or
    call `close`. Connecting happens at the first call.

    Args:
        target: `host:port`, `dns:///host:port` (balances over all addresses of the name),
            `unix:path`, or a list of `IP:port` to balance over.
        timeout_s: The deadline of each call, unless the call names one. `math.inf` for none.
        retry: Whether what is unavailable or overloaded is tried again; see below.
        metadata: Key-value pairs sent with every call.
        tls: True, or a `Tls` that says whom to trust and what to show; False for plain text.
        token: What to show with every call, or a function that is asked for it each time; never
            sent without TLS, but to a Unix socket.
        allow_plaintext_token: Send it without TLS all the same.
        credentials: In place of `tls`, gRPC's own: `grpc.ssl_channel_credentials` and the like.
        compression: gRPC's compression of requests.
        interceptors: `grpc.UnaryUnaryClientInterceptor` and its kin, the first one outermost.
        options: Options of the gRPC channel; they win over the client's own.

    Raises:
        InvalidInput: Several targets that gRPC has no common name for, a timeout that is not
            positive, or a token that others could read.
        OSError: A file of `tls` that can't be read.

    What all calls raise: `Unavailable`, `DeadlineExceeded`, `Overloaded`, `InvalidInput`,
    `UnknownModel` and the other classes of `classwire.errors`; TypeError for what is no text.

    What is tried again until the deadline: whatever is UNAVAILABLE, after pauses that grow from 0.1
    s to 2 s, and what is overloaded, after the time that the server named; not when that is too
    late. The error that is raised in the end is the last that a server or gRPC gave. In a batch
    only the texts that failed so are sent again, in a stream those that are unanswered. `health`
    and `wait_until_ready` say what is. With `retry=False` nothing is tried again.
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
        interceptors: Sequence[Any] = (),
        options: _channel.ChannelOptions = (),
    ) -> None:
        shown = Credentials(tls, credentials, token, allow_plaintext_token)
        self._session = Session(target, timeout_s, metadata, retry, shown)
        how: dict[str, Any] = {
            "options": _channel.channel_options([*shown.options, *options], retry=retry),
            "compression": compression,
        }
        if shown.channel is None:
            channel = grpc.insecure_channel(self._session.target, **how)
        else:
            channel = grpc.secure_channel(self._session.target, shown.channel, **how)
        self._channel = channel
        self._stubs = _calls.Stubs(grpc.intercept_channel(channel, *interceptors))

    def classify(
        self,
        text: str | Text,
        text_pair: str | None = None,
        *,
        model: str = "",
        timeout_s: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ClassifyOptions],
    ) -> Classification:
        """Score one text, or one pair, by the default model unless `model` names another.

        `ClassifyOptions` lists the options.
        """
        wanted = _requests.classify_options(**options)
        return self._run(_calls.classify(text, text_pair, model, wanted), timeout_s, metadata)

    def classify_batch(
        self,
        texts: Iterable[str | Text],
        *,
        model: str = "",
        timeout_s: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ClassifyOptions],
    ) -> list[Outcome]:
        """Score several texts: for each, in order, its classification or its error.

        More texts than the server takes in one call go in several, one after the other, under the
        one deadline; for very many, `classify_stream` is the better way. The first batch for a
        model asks the server for the model's limits. An error of a whole call is raised, and no
        text of any call then has an outcome.
        """
        wanted = _requests.classify_options(**options)
        steps = _calls.classify_batch(texts, model, wanted, self._session.limits)
        return self._run(steps, timeout_s, metadata)

    def classify_stream(
        self,
        items: Iterable[str | Text | Item],
        *,
        model: str = "",
        in_order: bool = False,
        window: int | None = None,
        item_timeout_s: float | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
        **options: Unpack[ClassifyOptions],
    ) -> Generator[tuple[str, Outcome], None, None]:
        """Score texts for as long as `items` yields them: `(id, outcome)`, as each is known.

        Every id once, whatever becomes of servers: what is unanswered when one goes away is sent
        again, to another one or to the same when it is back.

        The id is the `Item`'s, or the position of a bare text as a decimal string, "0" the first.
        `items` is consumed lazily, on a thread of the client's. It may block: results that are
        there come through. If it raises, or yields what is no item, or an id that an unanswered
        item has, the outcomes of all elements before come first, then that error.

        Stopping early (leaving the loop and dropping the generator, or its `close`) cancels the
        stream, closes `items` if it is a generator, and waits for it, up to a second: one that
        blocks longer is left to its thread, and closed when it comes back.

        Args:
            items: Texts, or `Item`s with ids of their own.
            model: Name of the model; "" is the default one.
            in_order: Results in the order of `items`; a slow one holds back those behind it.
            window: How many elements may be between `items` and your loop; the server's window is
                the default and the most.
            item_timeout_s: Longest time for the server from reading an item to its answer; a late
                item gets `DeadlineExceeded` as its outcome. It begins anew when the item is sent
                again. Default: 600; `math.inf` for none.
            timeout_s: Deadline of the whole stream. Default: none, but the stream ends once it has
                been without a server for the client's `timeout_s`.
            metadata: Key-value pairs sent with the call, after the client's.
            options: As `ClassifyOptions` lists them.

        Raises:
            Unavailable: No server was there in that time; `unanswered` has the ids to send again.
        """
        wanted = _requests.classify_options(**options)
        self._session.check()
        config = StreamOptions(model, wanted, in_order, window, item_timeout_s).config()
        state = StreamState(config, window, Reconnection.of(self._session, timeout_s))
        checked = _requests.metadata(metadata)

        def open_call(
            requests: Iterator[pb.StreamClassifyRequest], call_timeout_s: float | None
        ) -> Any:
            return self._stubs.classify.StreamClassify(
                requests, timeout=call_timeout_s, metadata=self._session.metadata(checked)
            )

        source = iter(_requests.elements(items))
        return ThreadedStream(self._session, state, source, open_call).outcomes()

    def tokenize(
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
        """Ask what the model would see for a text or pair, after the truncation asked for."""
        steps = _calls.tokenize(text, text_pair, model, truncation, offset_unit)
        return self._run(steps, timeout_s, metadata)

    def models(self, *, timeout_s: float | None = None, metadata: Metadata = ()) -> list[Model]:
        """List all models, the default one first, then by name."""
        return self._run(_calls.list_models(), timeout_s, metadata)

    def model(
        self, name: str = "", *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> Model:
        """Describe one model; "" is the default one."""
        return self._run(_calls.describe(name), timeout_s, metadata)

    def server_info(self, *, timeout_s: float | None = None, metadata: Metadata = ()) -> ServerInfo:
        """Describe the server."""
        return self._run(_calls.server_info(), timeout_s, metadata)

    def health(
        self, service: str = "", *, timeout_s: float | None = None, metadata: Metadata = ()
    ) -> _calls.ServingStatus:
        """Ask for the health of the server, or of one service of it."""
        return self._run(_calls.health(service), timeout_s, metadata)

    def wait_until_ready(self, timeout_s: float | None = None, *, metadata: Metadata = ()) -> None:
        """Block until the server says SERVING; over several addresses, until one of them does.

        Raises:
            DeadlineExceeded: It did not within `timeout_s` (default: the client's); says what was
                heard last.
        """
        deadline = self._session.deadline(timeout_s)
        readiness = Readiness(self._session.target, deadline)
        while True:
            try:
                with self._session.calling(), contextlib.ExitStack() as done:
                    watch = self._stubs.health.Watch(
                        health_pb2.HealthCheckRequest(),
                        timeout=deadline.left_s(),
                        metadata=self._session.metadata(metadata),
                        wait_for_ready=True,
                    )
                    done.callback(watch.cancel)
                    if any(map(readiness.heard, watch)):
                        return
            except ClasswireError as error:
                readiness.failed(error)
            self._session.pause(readiness.pause_s())

    def close(self) -> None:
        """Close the connection. Calls that are running end as `Cancelled`. May be called again.

        With interceptors, let no other thread start a call meanwhile: grpcio may crash the process.
        """
        if self._session.close():
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, steps: Steps[R], timeout_s: float | None, metadata: Metadata) -> R:
        self._session.check()
        deadline = self._session.deadline(timeout_s)
        all_metadata = self._session.metadata(metadata)
        doings = self._session.retried(steps, deadline)
        try:
            doing = next(doings)
            while True:
                if isinstance(doing, Pause):
                    self._session.pause(doing.seconds)
                    doing = next(doings)
                    continue
                try:
                    with self._session.calling():
                        response = self._stubs.invoke(
                            doing, timeout=deadline.left_s(), metadata=all_metadata
                        )
                except ClasswireError as error:
                    doing = doings.throw(error)
                else:
                    doing = doings.send(response)
        except StopIteration as done:
            result: R = done.value
            return result
