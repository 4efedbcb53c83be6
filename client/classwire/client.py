"""`Client`: the synchronous client."""

from __future__ import annotations

from ._connection import grpc_log  # noqa: F401
from .options import OffsetUnit, Truncation

# isort: split

import contextlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
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
from ._streaming.reconnection import Reconnection
from ._streaming.state import StreamOptions, StreamState
from ._streaming.threaded import ThreadedStream
from .errors import ClasswireError
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
from .v1 import classwire_pb2 as pb

R = TypeVar("R")


class Client:
    """A connection to one server, or to several with client-side load balancing.

    All methods are thread-safe: make one client and share it. A client does not survive a fork:
    make it in the process that uses it. Use it as a context manager, or call `close`. It connects
    at the first call.

    Args:
        target: `host:port`; `dns:///host:port`, which balances over all addresses of the name;
            `unix:path`; or a list of `IP:port` to balance over.
        timeout_s: Deadline of each call that sets none of its own. `math.inf` for no deadline.
        retry: Whether the client repeats calls that failed as unavailable or overloaded; see below.
        metadata: Sent with every call: a mapping of each key to its value, or to a sequence of
            values.
        tls: True or a `Tls` for TLS; False for plain text.
        token: Sent with every call; or a function that returns it, which every call runs. The
            client sends a token over TLS and Unix sockets only.
        allow_plaintext_token: Send the token without TLS too.
        credentials: gRPC's own channel credentials, in place of `tls`.
        compression: gRPC's compression of requests.
        interceptors: gRPC's client interceptors, outermost first.
        options: Options of the gRPC channel. They override the client's own.

    Raises:
        InvalidInputError: A target without a port, several targets that are not all IPv4:port or
            all [IPv6]:port, a timeout that is not positive, or a token that others could read.
        OSError: A file of `tls` that cannot be read.

    Every call may raise the classes of `classwire.errors`. A call for one text raises TypeError for
    an input that is not text; in a batch or stream such an element's outcome is an
    `InvalidInputError`.

    Until a server has answered this client, each call tries for 1 s to reach one (5 s if nothing
    replies at all), then raises UnavailableError with the cause. To wait for a server that starts,
    use `wait_until_ready`.

    From the first answer on, the client repeats calls until their deadline: after UNAVAILABLE with
    a backoff from 0.1 s to 2 s, after an overload when the server's `retry_after` has passed. It
    does not wait past the deadline, and raises the last error of a server or of gRPC. Of a batch it
    sends only the failed texts again, of a stream only the items without a result. It does not
    repeat `health` and `wait_until_ready`. With `retry=False` it repeats nothing.
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
        interceptors: Sequence[Any] = (),
        options: ChannelOptions = (),
    ) -> None:
        shown = Credentials(tls, credentials, token, allow_plaintext_token)
        self._session = Session(target, timeout_s, metadata, retry, shown, options)
        how: dict[str, Any] = {
            "options": self._session.options,
            "compression": compression,
        }
        if shown.channel is None:
            channel = grpc.insecure_channel(self._session.target, **how)
        else:
            channel = grpc.secure_channel(self._session.target, shown.channel, **how)
        self._channel = channel
        self._stubs = unary.Stubs(grpc.intercept_channel(channel, *interceptors))

    @classmethod
    def from_env(cls, **arguments: Any) -> Self:
        """Make a client from the environment variables that the `classwire` command reads.

        They are CLASSWIRE_TARGET, CLASSWIRE_TIMEOUT_S, CLASSWIRE_TLS, CLASSWIRE_TLS_CA,
        CLASSWIRE_TLS_CLIENT_CERT, CLASSWIRE_TLS_CLIENT_KEY, CLASSWIRE_TLS_SERVER_NAME,
        CLASSWIRE_TOKEN, CLASSWIRE_TOKEN_FILE and CLASSWIRE_ALLOW_PLAINTEXT_TOKEN. `arguments` are
        those of the constructor, and override the environment.

        Raises:
            InvalidInputError: A variable has no valid value; `field` names it.
        """
        return cls(**{**arguments_from_env(), **arguments})

    def classify(
        self,
        text: str | TextInput,
        text_pair: str | None = None,
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Classification:
        """Score one text or pair. Default of `model`: the server's default model.

        `ClassifyOptions` lists the options.
        """
        wanted = requests.classify_options(**options)
        return self._run(unary.classify(text, text_pair, model, wanted), timeout_s, metadata)

    def classify_batch(
        self,
        texts: Iterable[str | TextInput],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> list[Outcome]:
        """Score several texts; return for each, in order, its classification or its error.

        More texts than the server takes in one call go in several calls, one after the other, under
        one deadline. For very many texts use `classify_stream`. The first batch for a model asks
        the server for the model's limits. The method raises the error of a whole call, and then
        returns no outcome.
        """
        wanted = requests.classify_options(**options)
        steps = unary.classify_batch(texts, model, wanted, self._session.limits)
        return self._run(steps, timeout_s, metadata)

    def classify_stream(
        self,
        items: Iterable[str | TextInput | StreamItem],
        *,
        model: str | None = None,
        in_order: bool = False,
        window: int | None = None,
        item_timeout_s: float | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ClassifyOptions],
    ) -> Generator[StreamResult, None, None]:
        """Score texts for as long as `items` yields them; yield each result when it is known.

        Every item gets exactly one result. When a server goes away, the client sends the items
        without a result again, to another server or to the same one when it is back.

        The client reads `items` lazily, on a thread of its own, so `items` may block. If `items`
        raises, or yields an item with a wrong id or that of an item without a result, the generator
        first yields the results of all elements before it, then raises that error.

        To stop early, leave the loop and drop the generator, or `close` it. That cancels the
        stream, closes `items` if it is a generator, and waits for it for up to 1 s.

        Args:
            items: Texts, or `StreamItem`s with ids of their own. A bare text's id is its index.
            model: Name of the model. Default: the server's default model.
            in_order: Yield results in the order of `items`; a slow item then delays later ones.
            window: Maximum number of items without a result. Default and maximum: the server's.
            item_timeout_s: Maximum time between the server's reading of an item and its result. A
                late item's outcome is `DeadlineExceededError`. The time starts again when the
                client sends the item again. Default: 600; `math.inf` for no limit.
            timeout_s: Deadline of the whole stream. Default: none; the stream then ends after it
                was without a server for the client's `timeout_s`.
            metadata: Sent with the stream's calls, after the client's.
            options: See `ClassifyOptions`.

        Raises:
            UnavailableError: No server was there in that time; `unanswered` has the ids of the
                items without a result.
        """
        wanted = requests.classify_options(**options)
        self._session.check()
        config = StreamOptions(model, wanted, in_order, window, item_timeout_s).config()
        state = StreamState(config, window, Reconnection.of(self._session, timeout_s))
        own_metadata = pairs_of(metadata)

        def open_call(
            messages: Iterator[pb.StreamClassifyRequest], call_timeout_s: float | None
        ) -> Any:
            return self._stubs.classify.StreamClassify(
                messages, timeout=call_timeout_s, metadata=self._session.metadata(own_metadata)
            )

        source = iter(requests.elements(items))
        return ThreadedStream(self._session, state, source, open_call).outcomes()

    def tokenize(
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
        """Return the tokens that the model would read for a text or pair, after truncation."""
        wanted = requests.classify_options(
            truncation=truncation,
            offset_unit=offset_unit,
            window_tokens=window_tokens,
            overlap_tokens=overlap_tokens,
        )
        return self._run(unary.tokenize(text, text_pair, model, wanted), timeout_s, metadata)

    def rank(
        self,
        query: str,
        documents: Iterable[str],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[RankOptions],
    ) -> Ranking:
        """Score documents for a query, and return them in the order of their scores.

        Each (query, document) is a pair for a model such as a cross-encoder. One call takes at most
        `max_texts_per_call` documents (`model().limits`). `RankOptions` lists the options.

        A document that cannot be scored, such as a blank one, is in `Ranking.failures`. Any other
        error ends the call, so that no ranking lacks a document that could have been scored.

        Raises:
            InvalidInputError: Also if the model does not rank: it has several labels and none is
                named, or its tokenizer does not tell query and document apart.
        """
        wanted = ranking.rank_options(**options)
        return self._run(ranking.rank(query, documents, model, wanted), timeout_s, metadata)

    def zero_shot(
        self,
        text: str,
        candidate_labels: Iterable[str],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
        **options: Unpack[ZeroShotOptions],
    ) -> ZeroShotClassification:
        """Score labels that the caller makes up, with a model of natural language inference.

        The model scores for each candidate whether the text entails a hypothesis, such as "This
        example is billing." `ZeroShotOptions` lists the options.

        Raises:
            InvalidInputError: Also if the model has no entailment label, or a candidate is blank or
                repeated.
        """
        wanted = zero_shot.zero_shot_options(**options)
        steps = zero_shot.zero_shot(text, candidate_labels, model, wanted)
        return self._run(steps, timeout_s, metadata)

    def models(
        self, *, timeout_s: float | None = None, metadata: Metadata | None = None
    ) -> list[Model]:
        """List all models, the default one first, then by name."""
        return self._run(unary.list_models(), timeout_s, metadata)

    def model(
        self,
        name: str | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
    ) -> Model:
        """Describe one model. Default: the server's default model."""
        return self._run(unary.describe(name), timeout_s, metadata)

    def server_info(
        self, *, timeout_s: float | None = None, metadata: Metadata | None = None
    ) -> ServerInfo:
        """Describe the server."""
        return self._run(unary.server_info(), timeout_s, metadata)

    def health(
        self,
        service: str | None = None,
        *,
        timeout_s: float | None = None,
        metadata: Metadata | None = None,
    ) -> unary.ServingStatus:
        """Return the health of the server, or of one of its services."""
        return self._run(unary.health(service), timeout_s, metadata)

    def wait_until_ready(
        self, timeout_s: float | None = None, *, metadata: Metadata | None = None
    ) -> None:
        """Block until the server is SERVING; with several addresses, until one of them is.

        Raises:
            DeadlineExceededError: The server was not SERVING within `timeout_s` (default: the
                client's). The message has its last answer.
        """
        deadline = self._session.deadline(timeout_s)
        readiness = Readiness(self._session.target, deadline)
        own_metadata = pairs_of(metadata)
        while True:
            try:
                with self._session.calling(), contextlib.ExitStack() as done:
                    watch = self._stubs.health.Watch(
                        health_pb2.HealthCheckRequest(),
                        timeout=deadline.left_s(),
                        metadata=self._session.metadata(own_metadata),
                    )
                    done.callback(watch.cancel)
                    if any(map(readiness.heard, watch)):
                        return
            except ClasswireError as error:
                readiness.failed(error)
            self._session.pause(readiness.pause_s())

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self._session!r}"

    def close(self) -> None:
        """Close the connection; running calls end with `CancelledError`. May be called again.

        With interceptors, no other thread may start a call meanwhile: grpcio may crash the process.
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

    def _run(self, steps: Steps[R], timeout_s: float | None, metadata: Metadata | None) -> R:
        self._session.check()
        deadline = self._session.deadline(timeout_s)
        all_metadata = self._session.metadata(pairs_of(metadata))
        actions = self._session.retried(steps, deadline)
        try:
            action = next(actions)
            while True:
                if isinstance(action, Pause):
                    self._session.pause(action.seconds)
                    action = next(actions)
                    continue
                try:
                    with self._session.calling():
                        response, call = self._stubs.method(action).with_call(
                            action.request, timeout=deadline.left_s(), metadata=all_metadata
                        )
                        reply = Reply(response, request_id_in(call.trailing_metadata()))
                except ClasswireError as error:
                    action = actions.throw(error)
                else:
                    action = actions.send(reply)
        except StopIteration as done:
            result: R = done.value
            return result
