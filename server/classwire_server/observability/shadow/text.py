"""One text on its way through the model that shadows another."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Self

import numpy as np

from classwire.v1 import classwire_pb2 as pb
from classwire_server.errors import BadLogits
from classwire_server.registry.registry import ServedModel
from classwire_server.rpc.status import request_error
from classwire_server.scheduling.batch import Priority
from classwire_server.security.callers import Caller
from classwire_server.service.answers import answers_of
from classwire_server.service.items import Item, Submission, ended_items, parts_of, read_items
from classwire_server.service.options import Options, parse_options
from classwire_server.service.requests import ClassifyRequest
from classwire_server.tokenization import Text
from classwire_server.windows import WindowPlan

_DEFAULTS = pb.ClassifyOptions()


@dataclass(frozen=True, eq=False)
class ShadowText:
    """A text for the model that shadows another, as bulk work of no caller.

    The model reads a text that does not fit in windows. `scores` may be called once, the other
    methods by any thread.
    """

    model: ServedModel
    options: Options
    item: Item

    @classmethod
    def of(cls, text: Text, model: ServedModel, timeout_s: float) -> Self:
        """Tokenize a text, which has `timeout_s` from now on. Raises RequestError."""
        plan = WindowPlan(model.tokenization.max_tokens, model.limits.max_windows_per_text)
        options = replace(parse_options(_DEFAULTS, model, Priority.BULK, ""), fit=plan)
        now_s = time.monotonic()
        submission = Submission(Caller("shadow"), SimpleQueue(), now_s, now_s + timeout_s)
        [item] = read_items(ClassifyRequest.of(model, options, [text], "{name}"), submission)
        if item.error is not None:
            raise request_error(item.error)
        return cls(model, options, item)

    def scores(self) -> Sequence[float]:
        """Wait for the scores by label id.

        Raises RequestError if the model cannot score the text, and CancelledError after `cancel`.
        """
        self.model.gate.enter()  # so that the model is not freed meanwhile
        try:
            self.model.dispatcher.submit(parts_of([self.item]))
            while not ended_items(self.item.inbox.get()):
                pass
        finally:
            self.model.gate.leave()
        if self.item.error is not None:
            raise self.item.error
        _, values = answers_of([self.item], self.options.activation, self.options.aggregation)
        if np.isnan(values).any():
            raise request_error(BadLogits())
        scores: list[float] = values[0].tolist()
        return scores

    def cancel(self) -> None:
        """Remove the text from the queue."""
        self.model.dispatcher.withdraw(parts_of([self.item]))
