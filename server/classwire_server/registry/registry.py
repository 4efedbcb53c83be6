"""The models of a server, by name."""

import math
import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from enum import Enum
from textwrap import shorten
from typing import TYPE_CHECKING, Self

from classwire.contract.reasons import Reason
from classwire_server.config.model_source import ModelSource
from classwire_server.errors import RequestError
from classwire_server.gate import Gate
from classwire_server.security.callers import Caller

from .limits import Limits

if TYPE_CHECKING:
    from classwire_server.checkpoint.loading import Checkpoint
    from classwire_server.engine import Engine
    from classwire_server.registry.predictions.predictions import Predictions
    from classwire_server.scheduling.dispatcher import Dispatcher
    from classwire_server.tokenization import Tokenization

NAMES_BYTES = 200
"""Maximum size of model names in a message: a status with details stays below 2 KiB."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that answers calls.

    `predictions` counts its answers. `gate` counts the calls that use it, and closes when another
    model replaces it. `memory_bytes` is the peak memory of its processes, 0 if the system does not
    report it.
    """

    checkpoint: "Checkpoint"
    tokenization: "Tokenization"
    engine: "Engine"
    dispatcher: "Dispatcher"
    limits: Limits
    predictions: "Predictions"
    memory_bytes: int = 0
    gate: Gate = field(default_factory=Gate)


class ModelState(Enum):
    """The stages of a model."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class Entry:
    """A model's entry in the registry.

    `served` is None until the model is loaded. `problem` says why it cannot be loaded, or is empty.
    """

    source: ModelSource
    is_default: bool
    served: ServedModel | None = None
    problem: str = ""

    def state(self) -> tuple[ModelState, str]:
        """The current stage of the model, and if FAILED, why."""
        failure = self.served.engine.failure if self.served is not None else self.problem
        if failure:
            return ModelState.FAILED, failure
        return (ModelState.LOADING if self.served is None else ModelState.READY), ""


class Registry:
    """The models of a server, the default one first. Safe for use by any thread."""

    def __init__(self, sources: Sequence[ModelSource]) -> None:
        self._visible: frozenset[str] | None = None  # None: all
        self._lock = threading.Lock()  # guards _entries
        self._entries = {
            source.name: Entry(source, is_default=number == 0)
            for number, source in enumerate(sources)
        }

    def put(self, source: ModelSource, served: ServedModel) -> ServedModel | None:
        """Let a model serve calls to its name; returns the one that it replaces."""
        with self._lock:
            before = self._entries.get(source.name) or Entry(source, is_default=False)
            self._entries[source.name] = replace(before, source=source, served=served)
            return before.served

    def mark_failed(self, name: str, problem: str) -> None:
        """Record that a model cannot be loaded, and why."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], problem=problem)

    def remove(self, name: str) -> Entry:
        """Remove a model, which must exist and not be the default."""
        with self._lock:
            return self._entries.pop(name)

    def set_default(self, name: str) -> None:
        """Let a model, which must exist, serve calls that name no model."""
        with self._lock:
            for entry in list(self._entries.values()):
                is_default = entry.source.name == name
                self._entries[entry.source.name] = replace(entry, is_default=is_default)

    def seen_by(self, caller: Caller) -> Self:
        """A view of the models that a caller may use. It shares this registry's entries."""
        if caller.models is None:
            return self
        view = copy(self)
        view._visible = caller.models
        return view

    def entries(self) -> list[Entry]:
        """All visible entries: the default one first, then by name."""
        with self._lock:
            entries = [entry for entry in self._entries.values() if self._is_visible(entry)]
        return sorted(entries, key=lambda entry: (not entry.is_default, entry.source.name))

    def entry(self, name: str, field: str) -> Entry:
        """The entry of a model, or the default one for an empty name.

        Raises RequestError UNKNOWN_MODEL, naming `field`.
        """
        with self._lock:
            return self._entry(name, field)

    def served(self, name: str, field: str) -> ServedModel:
        """The model that serves calls to this name.

        Raises RequestError UNKNOWN_MODEL, or LOADING while it is not loaded.
        """
        with self._lock:
            return self._served(name, field)

    def use(
        self, name: str, field: str, when_over: Callable[[Callable[[], None]], None]
    ) -> ServedModel:
        """The model that serves calls to this name; it stays open until the call is over.

        `when_over` gets the function to call at that moment. Raises RequestError as `served` does.
        """
        with self._lock:
            model = self._served(name, field)
            model.gate.enter()
        when_over(model.gate.leave)
        return model

    def reject_late(self, left_s: float) -> RequestError | None:
        """The error of a call, not read yet, that has too little time left for any model; None if
        some model may answer it.
        """
        with self._lock:
            served = [each.served for each in self._entries.values() if each.served is not None]
        quickest, least_s = None, math.inf
        for model in served:
            model_s = model.dispatcher.least_s(left_s)
            if model_s <= left_s:
                return None
            if model_s < least_s:
                quickest, least_s = model.dispatcher, model_s
        return quickest.reject() if quickest is not None else None

    def _served(self, name: str, field: str) -> ServedModel:
        served = self._entry(name, field).served
        if served is None:
            raise RequestError(Reason.LOADING, "the model is not loaded yet")
        return served

    def _entry(self, name: str, field: str) -> Entry:
        entry = self._entries.get(name) if name else self._default()
        if entry is None or not self._is_visible(entry):
            visible = filter(self._is_visible, self._entries.values())
            names = ", ".join(sorted(each.source.name for each in visible))
            available = shorten(names, NAMES_BYTES, placeholder=" ...") or "none"
            raise RequestError(
                Reason.UNKNOWN_MODEL, f"no model of that name; there is {available}", field=field
            )
        return entry

    def _default(self) -> Entry:
        return next(entry for entry in self._entries.values() if entry.is_default)

    def _is_visible(self, entry: Entry) -> bool:
        return self._visible is None or entry.source.name in self._visible
