"""The fake server, whose answers and errors a test decides."""

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
    """The metadata and deadline of a call; `time_left_s` is None without a deadline.

    A key that came several times has its last value.
    """

    metadata: Mapping[str, str | bytes]
    time_left_s: float | None


class FakeServer:
    """A server whose answers and errors a test decides. A context manager; thread-safe.

    A process that has one must not fork: gRPC's servers do not survive a fork.

    Args:
        answer: A function from a text and its pair (or None) to the score of each label. Or a
            sequence of labels: the first text gets the first label, and so on, round and round.
        model: Name of its one model, which is the default model.
        max_tokens: The model's limit as clients see it. The fake takes any number of words.
        max_texts_per_call: Maximum number of texts in a batch.
        window_items: Maximum number of unanswered items in a stream.
        max_items_per_message: Maximum number of items in one message of a stream.
        address: `host:port`, where port 0 takes a free one; or `unix:path`.

    Raises:
        ValueError: `answer` is an empty sequence.

    Attributes:
        target: Its address, for a client.
        requests: All classify and tokenize requests and all messages of streams, in the order of
            arrival.
        calls: The metadata and deadline of each such call and stream, in the order of arrival.
        model: Its model, as clients see it.
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
        if not callable(answer) and not answer:
            raise ValueError("the fake server needs at least one label")
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
        # Guards the fields below and `answer`, so that the labels come in order.
        self._lock = threading.Lock()
        self._text_failures: dict[str, tuple[Failure, float]] = {}  # with the times left
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
        """Make a text fail `times` times: as an outcome in a batch or stream, else as a call."""
        with self._lock:
            self._text_failures[text] = Failure(reason, retry_after_s), times

    def fail_next(
        self, reason: Reason, *, times: int = 1, retry_after_s: float | None = None
    ) -> None:
        """Make the next `times` classify and tokenize calls and streams fail as a whole.

        A client retries what is retryable, unless it was made with `retry=False`.
        """
        with self._lock:
            self._call_failures += [Failure(reason, retry_after_s)] * times

    def break_stream(self, reason: Reason, *, after_results: int) -> None:
        """Make the next stream fail when it has given `after_results` results.

        If the reason is retryable, a client goes on in another stream.
        """
        with self._lock:
            self._stream_failures.append((after_results, Failure(reason)))

    def hold(self) -> None:
        """Hold back the answers of classify and tokenize calls and of streams, until `release`."""
        self._released.clear()

    def release(self) -> None:
        """Send the answers that `hold` held back, and all later ones at once."""
        self._released.set()

    def set_serving(self, serving: bool) -> None:
        """Set the health: SERVING (the default) or NOT_SERVING."""
        status = health_pb2.HealthCheckResponse.SERVING
        self._health.set("", status if serving else health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self) -> None:
        """Start to listen. Entering the context does this."""
        self.set_serving(True)
        self._server.start()

    def stop(self) -> None:
        """Cancel all calls and stop listening. Leaving the context does this."""
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
        """Record a call, and abort it if it is to fail. For the services."""
        left_s = context.time_remaining()
        # Without a deadline grpcio returns a very long time, or None.
        endless = left_s is None or left_s > _ENDLESS_S
        received = ReceivedCall(dict(context.invocation_metadata()), None if endless else left_s)
        with self._lock:
            self.calls.append(received)
            failure = self._call_failures.pop(0) if self._call_failures else None
        if failure is not None:
            failure.abort(context)

    def record(self, request: Request) -> None:
        """Record a request. For the services."""
        with self._lock:
            self.requests.append(request)

    def wait_for_release(self) -> None:
        """Block while answers are held back. For the services."""
        self._released.wait()

    def next_stream_failure(self) -> tuple[int, Failure] | None:
        """How many results a new stream gives before it fails, and how. For the services."""
        with self._lock:
            return self._stream_failures.pop(0) if self._stream_failures else None

    def scores(self, given: pb.TextInput) -> Mapping[str, float] | Failure:
        """The answer to a text, or its failure. For the services."""
        failure = self.failure(given)
        if failure is not None:
            return failure
        text_pair = given.text_pair if given.HasField("text_pair") else None
        with self._lock:
            return self._answer(given.text, text_pair)

    def failure(self, given: pb.TextInput) -> Failure | None:
        """The failure of a text, if it is to fail. For the services."""
        with self._lock:
            failure, times = self._text_failures.get(given.text, (None, 0))
            if failure is not None and times > 0:
                self._text_failures[given.text] = failure, times - 1
                return failure
        return None if given.text.strip() else Failure(Reason.EMPTY_TEXT)


def _in_turn(labels: Sequence[str]) -> Answer:
    """Answers with a score of 1 for each label in turn, and 0 for the others."""
    turns: Iterator[str] = itertools.cycle(labels)
    every = sorted(set(labels))

    def answer(text: str, text_pair: str | None) -> Mapping[str, float]:
        label = next(turns)
        return {each: float(each == label) for each in every}

    return answer
