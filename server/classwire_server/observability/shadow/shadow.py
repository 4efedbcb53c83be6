"""Lets a second model score texts of a model, and compares the answers."""

import logging
import random
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import NamedTuple

from classwire.contract.reasons import Reason
from classwire_server.config.predictions import ShadowSource
from classwire_server.errors import RequestError
from classwire_server.registry.predictions.predictions import Highest
from classwire_server.registry.registry import Registry, ServedModel
from classwire_server.rpc.status import request_error
from classwire_server.tokenization import Text

from .figures import Comparison, ShadowFigures
from .text import ShadowText

log = logging.getLogger(__name__)

MAX_WAITING = 64
"""Texts that may wait for one shadow. The server sheds further ones."""
OF_THE_MODEL = (Reason.WORKER_LOST, Reason.POISON_INPUT)
"""Reasons that mean that the other model has failed."""
FOR_LACK_OF_ROOM = (Reason.OVERLOADED, Reason.DRAINING, Reason.EXPIRED_IN_QUEUE)
"""Reasons that mean that the server had other work."""

Models = tuple[ServedModel | None, ServedModel | None]


class _Answered(NamedTuple):
    text: Text
    labels: Sequence[str]
    highest: Highest


class Shadow:
    """Lets another model score a share of a model's texts, one at a time, on a thread of its own.

    It starts a text only while no model has work of callers. It runs while both models have the
    same labels and the other is up. A model that has failed gets no more texts until it is loaded
    again. All methods may be called by any thread. `timeout_s` bounds each text.
    """

    def __init__(self, source: ShadowSource, registry: Registry, timeout_s: float) -> None:
        self.source = source
        self._registry = registry
        self._timeout_s = timeout_s
        self._figures = ShadowFigures()
        self._models: Models = (None, None)
        self._waiting: deque[_Answered] = deque()
        self._current: ShadowText | None = None
        self._is_over = False
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()  # guards the six above

    def answered(self, text: Text, labels: Sequence[str], highest: Highest) -> None:
        """A caller gets this answer of the model. Returns at once."""
        if random.random() >= self.source.share:
            return
        with self._changed:
            if not self._figures.is_running:
                return
            if len(self._waiting) == MAX_WAITING:
                self._figures.texts[Comparison.SHED] += 1
                return
            self._waiting.append(_Answered(text, labels, highest))
            self._changed.notify_all()

    def look(self) -> None:
        """Start if both models were loaded; stop if one has failed, changed or gone."""
        with self._changed:  # also while it reads: a later look must not be undone by this one
            models = models_of(self.source, self._registry)
            problem = problem_of(*models)
            is_new, self._models = models != self._models, models
            was_running = self._figures.is_running
            may_run = (is_new or was_running) and not self._is_over
            self._figures.is_running = may_run and not problem
            if self._figures.is_running and self._thread is None:
                name = f"shadow-{self.source.model}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            stops = was_running and bool(problem)
            current = self._drop() if stops else None
        self._end(current, problem if stops else "")

    def read(self) -> ShadowFigures:
        """A copy of all figures at one moment."""
        with self._changed:
            return self._figures.copy()

    def close(self) -> None:
        """Stop for good, and wait until the thread has ended."""
        with self._changed:
            self._is_over = True
            thread, current = self._thread, self._drop()
        self._end(current)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (answered := self._next()) is not None:
            try:
                scores = self._scores(answered)
            except CancelledError:
                continue
            except Exception as error:
                self._failed(request_error(error))
            else:
                self._compare(answered.highest, scores)

    def _next(self) -> _Answered | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over)
            return None if self._is_over else self._waiting.popleft()

    def _scores(self, answered: _Answered) -> Sequence[float]:
        """The other model's scores by label id.

        Raises an exception of a text that has failed, and CancelledError once the shadow stops.
        """
        if self._is_busy():
            raise RequestError(Reason.OVERLOADED, "a model has work of callers")
        other = self._registry.served(self.source.other, "")
        if other.checkpoint.labels != answered.labels:
            raise CancelledError  # the answer is that of a model which was replaced since
        text = ShadowText.of(answered.text, other, self._timeout_s)
        with self._changed:
            if not self._figures.is_running:
                raise CancelledError
            self._current = text
        try:
            return text.scores()
        finally:
            with self._changed:
                self._current = None

    def _failed(self, error: RequestError) -> None:
        is_shed = error.reason in FOR_LACK_OF_ROOM
        stops = error.reason in OF_THE_MODEL
        with self._changed:
            self._figures.texts[Comparison.SHED if is_shed else Comparison.FAILED] += 1
            current = self._drop() if stops else None
        self._end(current, "its process has ended" if stops else "")

    def _compare(self, highest: Highest, scores: Sequence[float]) -> None:
        is_same = scores.index(max(scores)) == highest.label_id
        with self._changed:
            self._figures.texts[Comparison.AGREED if is_same else Comparison.DIFFERED] += 1
            self._figures.differences.add(abs(highest.score - scores[highest.label_id]))

    def _is_busy(self) -> bool:
        """Whether a model has work of callers."""
        dispatchers = [each.served.dispatcher for each in self._registry.entries() if each.served]
        return any(each.waiting_texts or each.backlog().busy_lanes for each in dispatchers)

    def _drop(self) -> ShadowText | None:
        """Stop; returns the text that the other model has. The caller holds the lock."""
        self._figures.is_running = False
        self._waiting.clear()
        self._changed.notify_all()
        return self._current

    def _end(self, current: ShadowText | None, why: str = "") -> None:
        """Cancel a text, and log why the shadow has stopped, without the lock."""
        if current is not None:
            current.cancel()
        if why:
            log.warning("%s: no longer shadows %s: %s", self.source.other, self.source.model, why)


def models_of(source: ShadowSource, registry: Registry) -> Models:
    """The model and the one that shadows it; None for one that is not loaded."""
    served = {entry.source.name: entry.served for entry in registry.entries()}
    return served.get(source.model), served.get(source.other)


def problem_of(model: ServedModel | None, other: ServedModel | None) -> str:
    """Why the other model cannot shadow the model; empty if it can."""
    if model is None or other is None:
        return "one of the models is not loaded"
    if model.checkpoint.labels != other.checkpoint.labels:
        return "the models have different labels"
    if model.checkpoint.activation is not other.checkpoint.activation:
        return "the models have different activations"
    return other.engine.failure
