"""The fake server, whose answers and errors a test decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent import futures
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb
from classwire.v1 import classwire_pb2_grpc as pb_grpc

from .failures import Failure
from .models import ModelService
from .script import Answer, Script
from .services import ClassifyService


class FakeServer:
    """A server whose answers and errors a test decides. A context manager; thread-safe.

    A process that has one must not fork: gRPC's servers do not survive a fork.

    Args:
        answer: A function from a text and its pair (or None) to the score of each label. Or a
            sequence of labels: the first text gets the first label, and so on, round and round.
            `rank` asks it for the pair of query and document, and takes the score of the label that
            ranks. `zero_shot` asks for the pair of text and hypothesis, and takes the score of the
            entailment label. With `include_windows` it gets each window as a text.
        model: Name of its one model, which is the default model.
        max_tokens: The model's limit as clients see it, and the words of a window. Without windows
            the fake takes any number of words.
        max_texts_per_call: Maximum number of texts in a batch.
        window_items: Maximum number of unanswered items in a stream.
        max_items_per_message: Maximum number of items in one message of a stream.
        address: `host:port`, where port 0 takes a free one; or `unix:path`.

    Raises:
        ValueError: `answer` is an empty sequence.

    Attributes:
        target: Its address, for a client.
        requests: All requests of ClassifyService and all messages of its streams, in the order of
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
                max_windows_per_text=64,
                max_windows_per_call=512,
                max_texts_per_call_with_windows=max_texts_per_call,
            ),
            fingerprint="0" * 64,
            tasks=["classify", "rank", "zero_shot_classify"],
        )
        self._script = Script(answer, self.model)
        self.requests = self._script.requests
        self.calls = self._script.calls
        self._health = health.HealthServicer()
        self._server = grpc.server(futures.ThreadPoolExecutor(16, "classwire-fake"))
        pb_grpc.add_ClassifyServiceServicer_to_server(ClassifyService(self._script), self._server)
        pb_grpc.add_ModelServiceServicer_to_server(ModelService(self._script), self._server)
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
        """Make a text fail `times` times: as an outcome in a batch or stream, else as a call.

        A document fails the ranking only if a retry may help.
        """
        self._script.fail_text(text, Failure(reason, retry_after_s), times)

    def fail_next(
        self, reason: Reason, *, times: int = 1, retry_after_s: float | None = None
    ) -> None:
        """Make the next `times` calls and streams of ClassifyService fail as a whole.

        A client retries what is retryable, unless it was made with `retry=False`.
        """
        self._script.fail_next(Failure(reason, retry_after_s), times)

    def break_stream(self, reason: Reason, *, after_results: int) -> None:
        """Make the next stream fail when it has given `after_results` results.

        If the reason is retryable, a client goes on in another stream.
        """
        self._script.break_stream(Failure(reason), after_results)

    def hold(self) -> None:
        """Hold back the answers of ClassifyService's calls and streams, until `release`."""
        self._script.released.clear()

    def release(self) -> None:
        """Send the answers that `hold` held back, and all later ones at once."""
        self._script.released.set()

    def set_serving(self, serving: bool) -> None:
        """Set the health of server and model: SERVING (the default) or NOT_SERVING."""
        statuses = health_pb2.HealthCheckResponse
        status = statuses.SERVING if serving else statuses.NOT_SERVING
        for name in ("", f"classwire.model.{self.model.name}"):
            self._health.set(name, status)

    def start(self) -> None:
        """Start to listen. Entering the context does this."""
        self.set_serving(True)
        self._server.start()

    def stop(self) -> None:
        """Cancel all calls and stop listening. Leaving the context does this."""
        self._script.released.set()
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
