"""One inference: a request is read, answered, and counted as one outcome."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import replace
from typing import Self

from classwire.v1.classwire_pb2 import ClassifyOptions
from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import reason_of
from classwire_server.scheduling.batch import Priority
from classwire_server.scheduling.model_statistics import Outcome
from classwire_server.service.answers import outcome_of
from classwire_server.service.items import Item, Submission, parts_of, read_items, run_items
from classwire_server.service.options import parse_options
from classwire_server.service.requests import ClassifyRequest, check_size

from . import inference_pb2 as pb
from .request import InferRequest, Output
from .response import infer_response, raise_first

DEFAULTS = ClassifyOptions()
"""The protocol lets a request choose only its priority."""


class Inference:
    """A request whose texts have been read.

    Its `items` end once they are submitted to the model's dispatcher. Each method counts the
    failure that it raises.
    """

    def __init__(
        self,
        request_id: str,
        model: ServedModel,
        outputs: Sequence[Output],
        items: Sequence[Item],
        received_s: float,
    ) -> None:
        self.model = model
        self.items = items
        self._id = request_id
        self._outputs = outputs
        self._received_s = received_s

    @property
    def ended(self) -> bool:
        """Whether each text has an answer or an error."""
        return all(item.ended for item in self.items)

    @classmethod
    def read(
        cls,
        message: pb.ModelInferRequest,
        model: ServedModel,
        default_priority: Priority,
        submission: Submission,
    ) -> Self:
        """Read a request. Raises RequestError when it, or one of its texts, is bad."""
        received_s = submission.received_s
        with _failure_counted(model, received_s):
            request = InferRequest.parse(message, model.limits.max_texts_per_call, default_priority)
            deadline_s = min(submission.deadline_s, received_s + request.timeout_s)
            options = parse_options(DEFAULTS, model, request.priority, "")
            items = read_items(
                ClassifyRequest.of(model, options, request.texts, "{name}[{place}]"),
                replace(submission, deadline_s=deadline_s),
            )
            try:
                raise_first(items)
                check_size(
                    len(parts_of(items)), model.limits.max_windows_per_call, "inputs", "windows"
                )
            except RequestError as error:
                if items[0].trace is not None:
                    items[0].trace.refused(error)
                raise
            return cls(message.id, model, request.outputs, items, received_s)

    def run(self, call: Call) -> None:
        """Wait until all texts of a call have ended. Raises RequestError as run_items does."""
        with _failure_counted(self.model, self._received_s):
            run_items(self.model, self.items, call)

    def response(self) -> pb.ModelInferResponse:
        """The answer.

        Raises the RequestError of the first text that failed, or CancelledError when the call was
        cancelled.
        """
        with _failure_counted(self.model, self._received_s):
            response = infer_response(self._id, self.model, self._outputs, self.items)
        now_s = time.monotonic()
        outcomes = [outcome_of(item, now_s) for item in self.items]
        total_s = now_s - self._received_s
        self.model.dispatcher.statistics.count([Outcome.of_all(total_s, outcomes)])
        return response


@contextmanager
def _failure_counted(model: ServedModel, received_s: float) -> Iterator[None]:
    """Count the request as failed if the block raises, unless its call was cancelled."""
    try:
        yield
    except CancelledError:
        raise
    except Exception as error:
        failed = Outcome(time.monotonic() - received_s, reason=reason_of(error))
        model.dispatcher.statistics.count([failed])
        raise
