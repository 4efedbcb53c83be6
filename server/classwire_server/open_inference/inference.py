"""One request on its way: read, then answered, and counted as one outcome."""

import math
import time
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Self

from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call
from classwire_server.rpc.status import reason_of
from classwire_server.scheduling.batch import Priority
from classwire_server.scheduling.model_statistics import Outcome
from classwire_server.security.callers import Caller
from classwire_server.service.items import Item, read_items, run_items
from classwire_server.service.requests import Options
from classwire_server.service.responses import outcome_of
from classwire_server.tokenization import OffsetUnit

from . import inference_pb2 as pb
from .request import InferRequest, Output
from .response import infer_response, raise_first


class Inference:
    """A request whose texts have been read.

    `items` end by themselves once they are given to the model's dispatcher. What fails is counted
    where it is raised.
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
        """Whether all texts have an answer or an error."""
        return all(item.ended for item in self.items)

    @classmethod
    def read(
        cls,
        message: pb.ModelInferRequest,
        model: ServedModel,
        priority: Priority,
        inbox: "SimpleQueue[list[Item]]",
        caller: Caller,
        received_s: float,
        deadline_s: float = math.inf,
        flow: Hashable = None,
    ) -> Self:
        """Read a request; `priority` is its default, `flow` the stream that it belongs to.

        Raises RequestError when it is wrong, or one of its texts is.
        """
        with _failure_counted(model, received_s):
            request = InferRequest.parse(message, model.limits.max_texts_per_call, priority)
            items = read_items(
                model,
                _options(model, request.priority),
                request.inputs,
                "{name}[{place}]",
                inbox,
                received_s,
                min(deadline_s, received_s + request.timeout_s),
                caller,
                flow,
            )
            try:
                raise_first(items)
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
        """The answer. Raises RequestError when there is none, CancelledError when the caller has
        gone.
        """
        with _failure_counted(self.model, self._received_s):
            response = infer_response(self._id, self.model, self._outputs, self.items)
        now_s = time.monotonic()
        outcomes = [outcome_of(item, now_s) for item in self.items]
        total_s = now_s - self._received_s
        self.model.dispatcher.statistics.count([Outcome.of_all(total_s, outcomes)])
        return response


def _options(model: ServedModel, priority: Priority) -> Options:
    """What every request asks for that is not its own to say."""
    return Options(
        top_k=0,
        min_score=None,
        activation=model.checkpoint.activation,
        truncation=None,
        include_logits=False,
        include_tokens=False,
        offset_unit=OffsetUnit.UNICODE,
        priority=priority,
    )


@contextmanager
def _failure_counted(model: ServedModel, received_s: float) -> Iterator[None]:
    """A step of a request, which has failed if the step fails."""
    try:
        yield
    except CancelledError:
        raise
    except Exception as error:
        failed = Outcome(time.monotonic() - received_s, reason=reason_of(error))
        model.dispatcher.statistics.count([failed])
        raise
