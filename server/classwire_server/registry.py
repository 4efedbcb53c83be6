"""The models of a server, by name."""

import threading
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Self

from classwire._reasons import Reason

from .config import ModelSource
from .errors import RequestError
from .limits import Limits
from .security.callers import Caller

if TYPE_CHECKING:
    from .checkpoint import Checkpoint
    from .dispatch import Dispatcher
    from .engine import Engine
    from .tokenization import Tokenization


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that answers calls."""

    checkpoint: "Checkpoint"
    tokenization: "Tokenization"
    engine: "Engine"
    dispatcher: "Dispatcher"
    limits: Limits


class ModelState(Enum):
    """Where a model is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, eq=False)
class Entry:
    """A place in the registry. `served` is there once the model is loaded.

    `refusal` says why it cannot be.
    """

    source: ModelSource
    is_default: bool
    served: ServedModel | None = None
    refusal: str = ""

    def state(self) -> tuple[ModelState, str]:
        """Where the model is at this moment, and when FAILED, why."""
        failure = self.served.engine.failure if self.served is not None else self.refusal
        if failure:
            return ModelState.FAILED, failure
        return (ModelState.LOADING if self.served is None else ModelState.READY), ""


class Registry:
    """The models of a server, the default one first. Safe for use by any thread."""

    def __init__(self, sources: Sequence[ModelSource]) -> None:
        self._default = sources[0].name
        self._lock = threading.Lock()  # guards _entries
        self._entries = {
            source.name: Entry(source, is_default=source.name == self._default)
            for source in sources
        }

    def ready(self, name: str, served: ServedModel) -> None:
        """From now on the model answers calls."""
        self._replace(name, served=served)

    def refused(self, name: str, refusal: str) -> None:
        """The model cannot be loaded."""
        self._replace(name, refusal=refusal)

    def _replace(self, name: str, **changes: object) -> None:
        with self._lock:
            self._entries[name] = replace(self._entries[name], **changes)  # type: ignore[arg-type]

    def seen_by(self, caller: Caller) -> Self:
        """The models that a caller may use, as they are now."""
        if caller.models is None:
            return self
        seen = copy(self)
        with self._lock:
            seen._entries = {
                name: entry for name, entry in self._entries.items() if name in caller.models
            }
        return seen

    def entries(self) -> list[Entry]:
        """All entries: the default one first, then by name."""
        with self._lock:
            entries = list(self._entries.values())
        return sorted(entries, key=lambda entry: (not entry.is_default, entry.source.name))

    def entry(self, name: str, field: str) -> Entry:
        """The entry of a model, the default one for an empty name.

        Raises RequestError UNKNOWN_MODEL, naming `field`.
        """
        with self._lock:
            entry = self._entries.get(name or self._default)
        if entry is None:
            raise RequestError(Reason.UNKNOWN_MODEL, "no model of that name", field=field)
        return entry

    def served(self, name: str, field: str) -> ServedModel:
        """The model that answers calls to this name.

        Raises RequestError UNKNOWN_MODEL, or LOADING while it is not ready.
        """
        entry = self.entry(name, field)
        if entry.served is None:
            raise RequestError(Reason.LOADING, "the model is not loaded yet")
        return entry.served
