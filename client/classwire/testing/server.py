"""The fake server, and what a test may tell it."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ..contract.reasons import Reason
from ..v1 import classwire_pb2 as pb
from ..v1 import classwire_pb2_grpc as pb_grpc
from .failures import Failure
from .services import ClassifyService, ModelService, Request

Answer: TypeAlias = Callable[[str, str | None], Mapping[str, float]]


_ENDLESS_S = 1e12


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """What came with a call, besides its requests; `time_left_s` is None without a deadline."""

    metadata: Mapping[str, str | bytes]
    time_left_s: float | None


class FakeServer:
    """A server whose answers and errors a test decides. A context manager; any thread may call it.

    A process that has one must not fork: gRPC's servers do not survive it.

    Args:
        answer: A function from a text and its pair (or None) to the score of each label; or labels,
            which are the answers to one text after the other, over and over.
        model: The name of its one model, which is the default one.
        max_tokens: What the model says that it takes; the fake takes any number of words.
        max_texts_per_call: Largest batch.
        window_items: Largest number of unanswered items of a stream.
        max_items_per_message: Largest number of items in one message of a stream.
        address: Where to listen: host and port, of which 0 takes a free one, or `unix:path`.

    Attributes:
        target: Where it listens: what to give to a client.
        requests: Every classify and tokenize request and message of a stream, as they arrived.
        metadata: The metadata of every such call and stream, as they arrived.
    """

    def __init__(
        self,
        answer: Answer | Sequence[str],
        *,
        model: str = "fake",
        max_tokens: int = 512,
        max_texts_per_call: int = 64,
        window_items: int = 256,
        max_items_per_message: int = 64,
        address: str = "127.0.0.1:0",
    ) -> None:
        self.requests: list[Request] = []
        self.calls: list[ReceivedCall] = []
        self.model = pb.Model(
            name=model,
            is_default=True,
            state=pb.MODEL_STATE_READY,
            checkpoint="fake",
            architecture="FakeForSequenceClassification",
            labels=[] if callable(answer) else sorted(set(answer)),
            problem_type=pb.PROBLEM_TYPE_SINGLE_LABEL_CLASSIFICATION,
            activation=pb.ACTIVATION_SOFTMAX,
            max_tokens=max_tokens,
            default_truncation=pb.TRUNCATION_REJECT,
            device="cpu",
            precision=pb.PRECISION_FLOAT32,
            engine=pb.Engine(execution=pb.EXECUTION_PLAIN, layout=pb.LAYOUT_PACKED),
            limits=pb.ModelLimits(
                max_texts_per_call=max_texts_per_call,
                max_texts_per_call_with_tokens=max_texts_per_call,
                max_text_bytes=1 << 20,
                stream_window_items=window_items,
                stream_items_per_message=max_items_per_message,
            ),
            fingerprint="0" * 64,
        )
        self._answer = answer if callable(answer) else _in_turn(answer)
        # Guards what follows, and makes the script of labels go on one text at a time.
        self._lock = threading.Lock()
        self._text_failures: dict[str, tuple[Failure, float]] = {}  # and how often still
        self._call_failures: list[Failure] = []
        self._stream_failures: list[tuple[int, Failure]] = []
        self._released = threading.Event()
        self._released.set()
        self._health = health.HealthServicer()
        self._server = grpc.server(futures.ThreadPoolExecutor(16, "classwire-fake"))
        pb_grpc.add_ClassifyServiceServicer_to_server(ClassifyService(self), self._server)
        pb_grpc.add_ModelServiceServicer_to_server(ModelService(self), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        port = self._server.add_insecure_port(address)
        is_socket = address.startswith("unix:")
        self.target = address if is_socket else f"{address.rpartition(':')[0]}:{port}"

    def fail_text(
        self,
        text: str,
        reason: Reason,
        *,
        times: float = math.inf,
        retry_after_s: float | None = None,
    ) -> None:
        """Let this text fail from now on: its outcome in a batch or stream, the call elsewhere."""
        with self._lock:
            self._text_failures[text] = Failure(reason, retry_after_s), times

    def fail_next(
        self, reason: Reason, *, times: int = 1, retry_after_s: float | None = None
    ) -> None:
        """Let the next calls and streams fail as a whole. Clients try again what is UNAVAILABLE."""
        with self._lock:
            self._call_failures += [Failure(reason, retry_after_s)] * times

    def break_stream(self, reason: Reason, *, after_results: int) -> None:
        """Let the next stream end with an error once it has given so many results.

        Clients go on with what is UNAVAILABLE in another one.
        """
        with self._lock:
            self._stream_failures.append((after_results, Failure(reason)))

    def hold(self) -> None:
        """Let calls and streams wait before they answer, until `release`."""
        self._released.clear()

    def release(self) -> None:
        """Let what waits go on."""
        self._released.set()

    def set_serving(self, serving: bool) -> None:
        """Say SERVING, as from the start, or NOT_SERVING."""
        status = health_pb2.HealthCheckResponse.SERVING
        self._health.set("", status if serving else health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self) -> None:
        """Listen. Entering the context does."""
        self.set_serving(True)
        self._server.start()

    def stop(self) -> None:
        """Cut all calls off and stop listening. Leaving the context does."""
        self._released.set()
        self._server.stop(grace=None).wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def begin(self, context: grpc.ServicerContext) -> None:
        """Note a call, and end it if it is to fail. For the services."""
        left_s = context.time_remaining()
        # Without a deadline grpcio says an endless time, or nothing.
        endless = left_s is None or left_s > _ENDLESS_S
        received = ReceivedCall(dict(context.invocation_metadata()), None if endless else left_s)
        with self._lock:
            self.calls.append(received)
            failure = self._call_failures.pop(0) if self._call_failures else None
        if failure is not None:
            failure.abort(context)

    def record(self, request: Request) -> None:
        """Note a request. For the services."""
        with self._lock:
            self.requests.append(request)

    def wait_for_release(self) -> None:
        """Wait while calls are held. For the services."""
        self._released.wait()

    def next_stream_failure(self) -> tuple[int, Failure] | None:
        """After how many results the stream that starts is to end, and how. For the services."""
        with self._lock:
            return self._stream_failures.pop(0) if self._stream_failures else None

    def scores(self, given: pb.TextInput) -> Mapping[str, float] | Failure:
        """The answer to a text, or its failure. For the services."""
        with self._lock:
            failure, times = self._text_failures.get(given.text, (None, 0))
            if failure is not None and times > 0:
                self._text_failures[given.text] = failure, times - 1
                return failure
            if not given.text.strip():
                return Failure(Reason.EMPTY_TEXT)
            text_pair = given.text_pair if given.HasField("text_pair") else None
            return self._answer(given.text, text_pair)


def _in_turn(labels: Sequence[str]) -> Answer:
    """Answers that name the labels one after the other, with a score of 1."""
    turns: Iterator[str] = itertools.cycle(labels)
    every = sorted(set(labels))

    def answer(text: str, text_pair: str | None) -> Mapping[str, float]:
        label = next(turns)
        return {each: float(each == label) for each in every}

    return answer
