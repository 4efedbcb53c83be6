"""One ModelStreamInfer call: one response for each request, in order."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError

from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call, parse
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Priority
from classwire_server.service.items import Submission, ended_items, parts_of
from classwire_server.service.streaming.lifetime import StreamLimits
from classwire_server.service.streaming.session import StreamSession

from . import inference_pb2 as pb
from .inference import Inference
from .request import MAX_ID_BYTES

FINAL = "triton_final_response"

Find = Callable[[str, str], ServedModel]
"""Finds a model by name and version. Raises RequestError."""


class _Exchange:
    """A request of a stream and its inference, or the error of a request that could not be read."""

    def __init__(
        self, message: pb.ModelInferRequest, inference: Inference | None, error: RequestError | None
    ) -> None:
        self.inference = inference
        self._error = error
        self._ids = pb.ModelInferResponse(
            id=_if_short(message.id),
            model_name=_if_short(message.model_name),
            model_version=_if_short(message.model_version),
        )

    @property
    def ended(self) -> bool:
        """Whether the response can be sent."""
        return self.inference is None or self.inference.ended

    @property
    def weight(self) -> int:
        """How much of the window it takes: its texts, at least one."""
        return max(1, len(self.inference.items)) if self.inference else 1

    def response(self) -> pb.ModelStreamInferResponse:
        """The response; its `error_message` is empty unless the request failed."""
        error = self._error
        if self.inference is not None:
            try:
                return _final(pb.ModelStreamInferResponse(infer_response=self.inference.response()))
            except CancelledError:
                raise
            except Exception as failure:  # one bad request never ends the stream
                error = request_error(failure)
        message = f"{error.reason}: {error.message}" if error else ""
        return _final(pb.ModelStreamInferResponse(error_message=message, infer_response=self._ids))


def _if_short(text: str) -> str:
    """An id or name that is short enough to keep until the response; else the empty string."""
    return text if len(text.encode()) <= MAX_ID_BYTES else ""


def _final(response: pb.ModelStreamInferResponse) -> pb.ModelStreamInferResponse:
    response.infer_response.parameters[FINAL].bool_param = True
    return response


class InferStream(StreamSession[pb.ModelStreamInferResponse]):
    """A StreamSession that has unanswered requests, in order.

    They hold at most `window_items` texts, and those of one more request.
    """

    def __init__(
        self,
        find: Find,
        requests: Iterator[bytes],
        call: Call,
        limits: StreamLimits,
        window_items: int,
    ) -> None:
        super().__init__(requests, call, limits)
        self._find = find
        self._window_items = window_items
        self._unanswered: deque[_Exchange] = deque()

    def _read(self) -> None:
        for raw in self._requests:
            self._accept(parse(pb.ModelInferRequest, raw))
            if not self._wait_for_window(self._window_items):
                return

    def _accept(self, message: pb.ModelInferRequest) -> None:
        """Read a request, and queue its texts for the engine."""
        received_s = time.monotonic()
        inference, error = None, None
        try:
            model = self._find(message.model_name, message.model_version)
            submission = Submission(self._call.caller, self._inbox, received_s, flow=self)
            inference = Inference.read(message, model, Priority.BULK, submission)
        except Exception as failure:  # one bad request never ends the stream
            error = request_error(failure)
        exchange = _Exchange(message, inference, error)
        with self._changed:
            if not self._reading:
                return
            self._unanswered.append(exchange)
            self._enter_window(exchange.weight)
        self._inbox.put([])
        if inference is not None and inference.items:
            parts = parts_of(inference.items)
            inference.model.dispatcher.submit_when_room(parts, lambda: self._over)

    def _write(self) -> Iterator[pb.ModelStreamInferResponse]:
        while True:
            with self._changed:
                if self._over or not (self._reading or self._unanswered):
                    return
                is_next = bool(self._unanswered) and self._unanswered[0].ended
                exchange = self._unanswered.popleft() if is_next else None
            if exchange is None:
                ended_items(self._inbox.get())
            else:
                yield from self._send(exchange.response(), exchange.weight)

    def _withdraw(self) -> None:
        with self._changed:
            inferences = [exchange.inference for exchange in self._unanswered]
        for inference in inferences:
            if inference is not None:
                inference.model.dispatcher.withdraw(parts_of(inference.items))
