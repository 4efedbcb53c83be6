"""Loads, replaces and unloads models while the server serves, one change at a time."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from classwire.contract.reasons import AdminReason
from classwire_server.config.model_source import ModelSource
from classwire_server.errors import ChangeRefused, OverBudget, StartError, draining
from classwire_server.registry.loader import Loader
from classwire_server.registry.registry import Registry, ServedModel

log = logging.getLogger(__name__)


class Stage(Enum):
    """The stages of a change before it is done."""

    LOADING = "loading"
    FINISHING = "finishing"


Say = Callable[[Stage], None]
"""Called with each stage, on the thread that makes the change."""


@dataclass(eq=False)
class Change:
    """A change in progress. `began_s` is an instant of the monotonic clock."""

    model: str
    stage: Stage
    began_s: float


class Changes:
    """Changes models, one change at a time. Safe for use by any thread.

    All methods return when the change is done. They raise ChangeRefused or RequestError if nothing
    was changed, for example because another change is in progress. `on_change` is called after each
    change of a model, and `on_gone` with the name of each unloaded model.
    """

    def __init__(
        self,
        registry: Registry,
        loader: Loader,
        drain_timeout_s: float,
        on_change: Callable[[], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._drain_timeout_s = drain_timeout_s
        self._on_change = on_change
        self._on_gone = on_gone
        self._lock = threading.Lock()  # guards _closed and current, and writes to the registry
        self._closed = False
        self.current: Change | None = None

    def load(self, source: ModelSource, say: Say) -> None:
        """Add a model."""
        with self._change(source.name) as change:
            if any(entry.source.name == source.name for entry in self._registry.entries()):
                raise ChangeRefused(
                    AdminReason.MODEL_EXISTS,
                    f"there is a model {source.name}; it can be reloaded",
                    metadata={"model": source.name},
                )
            self._take_over(source, self._loaded(source, change, say))

    def reload(
        self, name: str, source_after: Callable[[ModelSource], ModelSource], say: Say
    ) -> None:
        """Replace a model, and wait until the old one is freed.

        `source_after` gets the source of the old model and returns that of the new one.
        """
        with self._change(name) as change:
            self._registry.served(name, "name")
            source = source_after(self._registry.entry(name, "name").source)
            old = self._take_over(source, self._loaded(source, change, say))
            if old is not None:
                self._finish(old, change, say)

    def unload(self, name: str, new_default: str) -> None:
        """Unload a model, and wait until it is freed."""
        with self._change(name) as change:
            entry = self._registry.entry(name, "name")
            if new_default:
                self._registry.served(new_default, "new_default")
            if entry.is_default and new_default in ("", name):
                raise ChangeRefused(
                    AdminReason.IS_DEFAULT,
                    f"{name} is the default model: name another as new_default (--default NAME)",
                    field="new_default",
                    metadata={"model": name},
                )
            with self._unless_closed():
                if new_default:
                    self._registry.set_default(new_default)
                self._registry.remove(name)
            self._on_gone(name)
            self._on_change()
            if entry.served is not None:
                self._finish(entry.served, change, lambda stage: None)
            log.info("%s: unloaded", name)

    def set_default(self, name: str) -> None:
        """Set the default model, which serves calls that name no model."""
        with self._change(name):
            self._registry.served(name, "name")
            with self._unless_closed():
                self._registry.set_default(name)
            log.info("%s: is now the default model", name)

    def close(self) -> None:
        """Reject all further changes, because the server shuts down."""
        with self._lock:
            self._closed = True

    @contextmanager
    def _change(self, model: str) -> Iterator[Change]:
        with self._unless_closed():
            if self.current is not None:
                raise ChangeRefused(
                    AdminReason.CHANGE_IN_PROGRESS,
                    f"{self.current.model} is being changed; one model changes at a time",
                    metadata={"model": self.current.model},
                )
            change = self.current = Change(model, Stage.LOADING, time.monotonic())
        try:
            yield change
        finally:
            self.current = None

    @contextmanager
    def _unless_closed(self) -> Iterator[None]:
        with self._lock:
            if self._closed:
                raise draining()
            yield

    def _loaded(self, source: ModelSource, change: Change, say: Say) -> ServedModel:
        say(change.stage)
        try:
            return self._loader.load(source)
        except OverBudget as error:
            raise ChangeRefused(
                AdminReason.OVER_MEMORY_BUDGET,
                str(error),
                metadata={
                    "needs_mb": str(error.needs_mb),
                    "in_use_mb": str(error.in_use_mb),
                    "budget_mb": str(error.budget_mb),
                },
            ) from error
        except StartError as error:
            log.warning("%s: not loaded: %s", source.name, error)
            raise ChangeRefused(AdminReason.BAD_CHECKPOINT, str(error)) from error

    def _take_over(self, source: ModelSource, new: ServedModel) -> ServedModel | None:
        """Send new calls to a new model. Returns the old one."""
        try:
            with self._unless_closed():
                old = self._registry.put(source, new)
        except BaseException:
            new.dispatcher.close()
            raise
        self._on_change()
        log.info("%s: new calls go to %s", source.name, new.checkpoint.fingerprint[:12])
        return old

    def _finish(self, old: ServedModel, change: Change, say: Say) -> None:
        """Let an old model answer its calls in flight, then free it."""
        change.stage = Stage.FINISHING
        say(change.stage)
        old.gate.close()
        if not old.gate.wait_until_empty(self._drain_timeout_s):
            log.warning(
                "%s: calls are still in flight after %g s; ending them",
                change.model,
                self._drain_timeout_s,
            )
        old.dispatcher.close()
