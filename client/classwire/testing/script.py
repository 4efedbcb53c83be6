"""The answers and failures that a test has set, and the calls that the fake server has received."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc

from classwire.contract.reasons import Reason
from classwire.v1 import classwire_pb2 as pb

from .failures import Failure

Answer: TypeAlias = Callable[[str, str | None], Mapping[str, float]]
Request: TypeAlias = (
    pb.ClassifyRequest
    | pb.BatchClassifyRequest
    | pb.StreamClassifyRequest
    | pb.TokenizeRequest
    | pb.RankRequest
    | pb.ZeroShotClassifyRequest
)

_ENDLESS_S = 1e12


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """The metadata and deadline of a call; `time_left_s` is None without a deadline.

    A key that came several times has its last value.
    """

    metadata: Mapping[str, str | bytes]
    time_left_s: float | None


class Script:
    """What a fake server does, and has received. Thread-safe."""

    def __init__(self, answer: Answer | Sequence[str], model: pb.Model) -> None:
        self.model = model
        self.requests: list[Request] = []
        self.calls: list[ReceivedCall] = []
        self.released = threading.Event()
        """Set unless answers are held back."""
        self.released.set()
        # Guards all other fields and `answer`, so that the labels come in order.
        self._lock = threading.Lock()
        self._answer = answer if callable(answer) else _in_turn(answer)
        self._text_failures: dict[str, tuple[Failure, float]] = {}  # with the times left
        self._call_failures: list[Failure] = []
        self._stream_failures: list[tuple[int, Failure]] = []

    def fail_text(self, text: str, failure: Failure, times: float) -> None:
        """Make a text fail `times` times."""
        with self._lock:
            self._text_failures[text] = failure, times

    def fail_next(self, failure: Failure, times: int) -> None:
        """Make the next `times` calls fail."""
        with self._lock:
            self._call_failures += [failure] * times

    def break_stream(self, failure: Failure, after_results: int) -> None:
        """Make the next stream fail when it has given `after_results` results."""
        with self._lock:
            self._stream_failures.append((after_results, failure))

    def begin(self, context: grpc.ServicerContext) -> None:
        """Record a call, and abort it if it is to fail."""
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
        """Record a request."""
        with self._lock:
            self.requests.append(request)

    def next_stream_failure(self) -> tuple[int, Failure] | None:
        """How many results a new stream gives before it fails, and how it fails; or None."""
        with self._lock:
            return self._stream_failures.pop(0) if self._stream_failures else None

    def scores(self, given: pb.TextInput) -> Mapping[str, float] | Failure:
        """The answer to a text, or its failure."""
        return self.failure(given.text) or self.answer_to(given)

    def answer_to(self, given: pb.TextInput) -> Mapping[str, float]:
        """The answer to a text or pair."""
        return self.answer(given.text, given.text_pair if given.HasField("text_pair") else None)

    def answer(self, text: str, text_pair: str | None) -> Mapping[str, float]:
        """The score of each label."""
        with self._lock:
            return self._answer(text, text_pair)

    def failure(self, text: str) -> Failure | None:
        """The failure of a text, if it is to fail."""
        with self._lock:
            failure, times = self._text_failures.get(text, (None, 0))
            if failure is not None and times > 0:
                self._text_failures[text] = failure, times - 1
                return failure
        return None if text.strip() else Failure(Reason.EMPTY_TEXT)


def _in_turn(labels: Sequence[str]) -> Answer:
    """Answers with a score of 1 for each label in turn, and 0 for the others."""
    turns: Iterator[str] = itertools.cycle(labels)
    every = sorted(set(labels))

    def answer(text: str, text_pair: str | None) -> Mapping[str, float]:
        label = next(turns)
        return {each: float(each == label) for each in every}

    return answer
