"""Loads a model: from its source to a ServedModel."""

import logging
import time
from collections.abc import Callable, Mapping

from classwire_server.checkpoint.loading import Checkpoint, locate
from classwire_server.config.model_source import ModelSource
from classwire_server.config.predictions import read_distribution
from classwire_server.config.server_config import ServerConfig
from classwire_server.engine import Launched
from classwire_server.engine.worker.memory import trim
from classwire_server.registry.predictions.predictions import AnswerListener, Predictions
from classwire_server.registry.predictions.reference import Reference
from classwire_server.scheduling.dispatcher import Dispatcher
from classwire_server.scheduling.scheduler import Bounds
from classwire_server.tokenization import Truncation

from .limits import limits_of
from .memory_budget import MemoryBudget
from .registry import Registry, ServedModel

log = logging.getLogger(__name__)

Launch = Callable[[ModelSource, ServerConfig, Callable[[], None]], Launched]
"""Starts a model's engine. The engine calls the given function, on any thread, whenever it may have
gone down or come up.
"""


class Loader:
    """Loads models within the memory budget that the models of a registry share.

    Calls `on_change`, on any thread, whenever the state of one of them may have changed. The
    answers of a model go to its listener in `listeners`, by name, if it has one. Any thread
    may call `load`, but with a budget only one at a time: a model that is loading is not counted
    yet.
    """

    def __init__(
        self,
        config: ServerConfig,
        launch: Launch,
        registry: Registry,
        on_change: Callable[[], None],
        listeners: Mapping[str, AnswerListener],
    ) -> None:
        self._config = config
        self._launch = launch
        self._on_change = on_change
        self._listeners = listeners
        self._budget = MemoryBudget(config.memory_budget_mb, registry)

    def load(self, source: ModelSource) -> ServedModel:
        """Load a model, check it and warm it up. Raises StartError, with no process left."""
        locate(source)  # report a wrong path at once: a worker takes seconds to start
        self._budget.check_files(source)
        if source.is_folder or self._config.offline:
            log.info("%s: loading %s", source.name, source.location)
        else:
            log.info("%s: no folder %s here; asking the hub", source.name, source.location)
        started_s = time.monotonic()
        served: ServedModel | None = None

        def engine_changed() -> None:
            self._on_change()
            if served is not None:
                served.dispatcher.wake()

        launched = self._launch(source, self._config, engine_changed)
        try:
            served = self._serve(source, launched)
        except BaseException:
            launched.engine.close()
            raise
        trim()  # reading a tokenizer leaves as much free memory as the tokenizer takes
        self._log_loaded(source.name, launched, time.monotonic() - started_s)
        return served

    def _serve(self, source: ModelSource, launched: Launched) -> ServedModel:
        config, checkpoint, engine = self._config, launched.checkpoint, launched.engine
        self._budget.check(source.name, launched.peak_memory_bytes)
        predictions = self._predictions(source.name, checkpoint)
        tokenization = checkpoint.tokenization(Truncation(config.truncation))
        return ServedModel(
            checkpoint,
            tokenization,
            engine,
            Dispatcher(
                engine,
                batch_tokens=launched.batch_tokens,
                profile=launched.profile,
                bounds=Bounds(
                    config.max_queue_tokens, round(config.cache_mb * 1e6), config.poison_expiry_s
                ),
                name=source.name,
            ),
            limits_of(
                checkpoint.labels,
                tokenization.max_tokens,
                tokenization.longest_token_bytes,
                config,
            ),
            predictions,
            launched.peak_memory_bytes,
        )

    def _predictions(self, name: str, checkpoint: Checkpoint) -> Predictions:
        """The counts of a model's answers. Raises ConfigError for a reference of another model."""
        labels, reference = checkpoint.labels, None
        path = self._config.references(self._config.sources[0].name).get(name)
        if path is not None:
            texts = read_distribution(path)  # again: it may be newer, as the model may
            reference = Reference.of(labels, texts, self._config.distribution_window_s)
        listener = self._listeners.get(name)
        return Predictions(labels, checkpoint.activation, reference, listener)

    def _log_loaded(self, name: str, launched: Launched, seconds: float) -> None:
        engine, deviation = launched.engine, launched.engine.deviation
        log.info(
            "%s: %s, %d %s, batches of %d tokens; "
            "labels agree with plain float32 on %.1f %%, scores within %.1e",
            name,
            engine.traits.layout.value,
            engine.lanes,
            "lane" if engine.lanes == 1 else "lanes",
            launched.batch_tokens,
            100 * deviation.label_agreement,
            deviation.max_score_difference,
        )
        log.info(
            "%s: ready after %.1f s: %s, %d labels, %s on %s",
            name,
            seconds,
            launched.checkpoint.architecture,
            len(launched.checkpoint.labels),
            engine.traits.precision.value,
            self._config.device if len(self._config.devices) > 1 else engine.traits.device,
        )
