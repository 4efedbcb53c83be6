"""One ModelStreamInfer call: each request has one response, in order."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError

from classwire_server.errors import RequestError
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.call import Call, parse
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Priority
from classwire_server.service.streaming.lifetime import StreamLimits
from classwire_server.service.streaming.session import StreamSession

from . import inference_pb2 as pb
from .inference import Inference
from .request import MAX_ID_BYTES

FINAL = "triton_final_response"

Find = Callable[[str, str], ServedModel]
"""The model of a name and version. Raises RequestError."""


class _Exchange:
    """A request of a stream: on its way, or failed before."""

    def __init__(
        self, message: pb.ModelInferRequest, inference: Inference | None, error: RequestError | None
    ) -> None:
        self.inference = inference
        self._error = error
        self._about = pb.ModelInferResponse(
            id=_short(message.id),
            model_name=_short(message.model_name),
            model_version=_short(message.model_version),
        )

    @property
    def ended(self) -> bool:
        """Whether it can be answered."""
        return self.inference is None or self.inference.ended

    @property
    def weight(self) -> int:
        """What it takes of the window: its texts, one at least."""
        return max(1, len(self.inference.items)) if self.inference else 1

    def response(self) -> pb.ModelStreamInferResponse:
        """The answer: one that is no error has no message."""
        error = self._error
        if self.inference is not None:
            try:
                return _final(pb.ModelStreamInferResponse(infer_response=self.inference.response()))
            except CancelledError:
                raise
            except Exception as failure:  # one bad request never ends the stream
                error = request_error(failure)
        said = f"{error.reason}: {error.message}" if error else ""
        return _final(pb.ModelStreamInferResponse(error_message=said, infer_response=self._about))


def _short(text: str) -> str:
    """An id or name, if it is one to keep until the answer is sent; else nothing."""
    return text if len(text.encode()) <= MAX_ID_BYTES else ""


def _final(response: pb.ModelStreamInferResponse) -> pb.ModelStreamInferResponse:
    response.infer_response.parameters[FINAL].bool_param = True
    return response


class InferSession(StreamSession[pb.ModelStreamInferResponse]):
    """The state of one stream: its requests that are unanswered, of `window_items` texts at most
    and those of one request more.
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
        """Read a request, and let its texts wait for the engine."""
        received_s = time.monotonic()
        inference, error = None, None
        try:
            model = self._find(message.model_name, message.model_version)
            inference = Inference.read(
                message,
                model,
                Priority.BULK,
                self._inbox,
                self._call.caller,
                received_s,
                flow=self,
            )
        except Exception as failure:  # as above
            error = request_error(failure)
        exchange = _Exchange(message, inference, error)
        with self._changed:
            if not self._reading:
                return
            self._unanswered.append(exchange)
            self._enter_window(exchange.weight)
        self._inbox.put([])
        if inference is not None and inference.items:
            inference.model.dispatcher.submit_when_room(inference.items, lambda: self._over)

    def _write(self) -> Iterator[pb.ModelStreamInferResponse]:
        while True:
            with self._changed:
                if self._over or not (self._reading or self._unanswered):
                    return
                is_next = bool(self._unanswered) and self._unanswered[0].ended
                exchange = self._unanswered.popleft() if is_next else None
            if exchange is None:
                self._inbox.get()
            else:
                yield from self._sent(exchange.response(), exchange.weight)

    def _withdraw(self) -> None:
        with self._changed:
            inferences = [exchange.inference for exchange in self._unanswered]
        for inference in inferences:
            if inference is not None:
                inference.model.dispatcher.withdraw(inference.items)
