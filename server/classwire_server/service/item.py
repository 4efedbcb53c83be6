"""One text on its way through the server, alike for unary calls, batches and streams."""

import time
from concurrent.futures import CancelledError

from classwire.v1 import classwire_pb2 as pb

from ..errors import RequestError
from ..registry import ServedModel
from ..scheduling import Pending
from .messages import Options, TimingOf, classification, parse_text
from .status import item_error, request_error


class Item:
    """A text that has been read: `pending` for the engine, or `error` says why it cannot be.

    `field` is the path of the input in the request; `received_s` and `deadline_s` are instants of
    the monotonic clock. Used by one thread at a time.
    """

    def __init__(
        self,
        model: ServedModel,
        options: Options,
        message: pb.TextInput,
        field: str,
        received_s: float,
        deadline_s: float,
    ) -> None:
        self.pending: Pending | None = None
        self.error: RequestError | None = None
        self._model = model
        self._options = options
        self._received_s = received_s
        started_s = time.monotonic()
        try:
            text = parse_text(message, model.limits.max_text_bytes, field)
            encoding = model.tokenization.encode(text, options.truncation, f"{field}.text")
            self.pending = Pending(encoding, options.priority, deadline_s)
        except Exception as error:  # one bad text never fails its neighbours
            self.error = request_error(error)
        self._tokenize_s = time.monotonic() - started_s

    def classification(self, timing: TimingOf) -> pb.Classification:
        """The scores, once the future has ended. Raises what went wrong."""
        if self.pending is None:
            timing.add(self._tokenize_s, None, self._age_s())
            raise self.error or AssertionError("an item has either an encoding or an error")
        answer = self.pending.future.result()
        timing.add(self._tokenize_s, answer, self._age_s())
        return classification(self._model, self.pending.encoding, answer, self._options)

    def outcome(self, timing: TimingOf) -> pb.Outcome:
        """The scores or the error, once the future has ended.

        Raises CancelledError when the caller has gone.
        """
        try:
            return pb.Outcome(classification=self.classification(timing))
        except CancelledError:
            raise
        except Exception as error:  # as in __init__
            return pb.Outcome(error=item_error(request_error(error)))

    def _age_s(self) -> float:
        return time.monotonic() - self._received_s
