"""Metrics of each model, read at each scrape."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from classwire.contract.reasons import Reason
from classwire_server.aggregates import Histogram
from classwire_server.config.server_config import ServerConfig
from classwire_server.registry.registry import ModelState, Registry, ServedModel
from classwire_server.scheduling.backlog import Backlog
from classwire_server.scheduling.batch import Priority
from classwire_server.scheduling.model_statistics import Figures

from . import model_definitions as definitions
from .families import Family, Sample, family
from .model_definitions import Metric


class _Snapshot(NamedTuple):
    """The state of a loaded model at one instant of the monotonic clock."""

    name: str
    model: ServedModel
    figures: Figures
    backlog: Backlog
    now_s: float


_VALUES: dict[Metric, Callable[[_Snapshot], float | Histogram]] = {
    definitions.SCORED: lambda snapshot: snapshot.figures.texts,
    definitions.TEXT_TOKENS: lambda snapshot: snapshot.figures.tokens,
    definitions.TEXT_WINDOWS: lambda snapshot: snapshot.figures.windows,
    definitions.TEXTS_EXPIRED: lambda snapshot: snapshot.backlog.events.expired,
    definitions.TEXTS_CANCELLED: lambda snapshot: snapshot.backlog.events.cancelled,
    definitions.TEXTS_RETRIED: lambda snapshot: snapshot.backlog.events.retried,
    definitions.TEXTS_COALESCED: lambda snapshot: snapshot.backlog.events.coalesced,
    definitions.POISON_INPUTS: lambda snapshot: snapshot.model.dispatcher.poison_inputs().count,
    definitions.TOKENIZE_SECONDS: lambda snapshot: snapshot.figures.tokenize,
    definitions.DRAIN_RATE: lambda snapshot: snapshot.backlog.tokens_per_s,
    definitions.INFERENCE_SECONDS: lambda snapshot: snapshot.figures.pass_s,
    definitions.BATCH_TEXTS: lambda snapshot: snapshot.figures.pass_texts,
    definitions.BATCH_TOKENS: lambda snapshot: snapshot.figures.pass_tokens,
    definitions.BATCH_FILL: lambda snapshot: snapshot.figures.pass_fill,
    definitions.BATCH_CAPACITY: lambda snapshot: snapshot.model.dispatcher.batch_tokens,
    definitions.LANES: lambda snapshot: snapshot.model.engine.lanes,
    definitions.LANES_BUSY: lambda snapshot: snapshot.backlog.busy_lanes,
    definitions.CACHE_HITS: lambda snapshot: snapshot.backlog.events.cached,
    definitions.CACHE_ENTRIES: lambda snapshot: snapshot.backlog.cache_entries,
    definitions.CACHE_BYTES: lambda snapshot: snapshot.backlog.cache_bytes,
    definitions.SCORE_DEVIATION: lambda snapshot: (
        snapshot.model.engine.deviation.max_score_difference
    ),
    definitions.LABEL_AGREEMENT: lambda snapshot: snapshot.model.engine.deviation.label_agreement,
}
"""The metrics with one value per model."""


class ModelMetrics:
    """Collects the metrics of all models. A model that is not loaded has only a state."""

    def __init__(self, registry: Registry, config: ServerConfig) -> None:
        self._registry = registry
        self._config = config

    def collect(self) -> Iterator[Family]:
        """Yield these metrics."""
        entries = self._registry.entries()
        states = {entry.source.name: entry.state()[0] for entry in entries}
        models = {entry.source.name: entry.served for entry in entries if entry.served}
        yield family(
            definitions.MODEL_STATE,
            [
                ((name, state.value), float(state is its_state))
                for name, its_state in states.items()
                for state in ModelState
            ],
        )
        snapshots = [_snapshot(name, model) for name, model in models.items()]
        for metric, value in _VALUES.items():
            yield family(metric, [((snapshot.name,), value(snapshot)) for snapshot in snapshots])
        yield family(definitions.TEXT_FAILURES, _each(snapshots, _failures))
        yield from _queues(snapshots)
        yield family(
            definitions.QUEUE_CAPACITY,
            [((name,), self._config.max_queue_tokens) for name in models],
        )
        yield family(
            definitions.CACHE_CAPACITY,
            [((name,), round(self._config.cache_mb * 1e6)) for name in models],
        )
        yield family(definitions.MODEL_INFO, [(_info(snapshot), 1) for snapshot in snapshots])


def _snapshot(name: str, model: ServedModel) -> _Snapshot:
    dispatcher = model.dispatcher
    return _Snapshot(
        name, model, dispatcher.statistics.read(), dispatcher.backlog(), time.monotonic()
    )


def _each(
    snapshots: Sequence[_Snapshot],
    samples: Callable[[_Snapshot], Iterator[tuple[str, float | Histogram]]],
) -> Iterator[Sample]:
    """Yield the samples of a metric with one label in addition to the model."""
    for snapshot in snapshots:
        for label, value in samples(snapshot):
            yield (snapshot.name, label), value


def _failures(snapshot: _Snapshot) -> Iterator[tuple[str, float | Histogram]]:
    for reason in Reason:
        yield reason, snapshot.figures.reasons[reason]


def _queues(snapshots: Sequence[_Snapshot]) -> Iterator[Family]:
    waiting = {
        (snapshot.name, priority.value): (snapshot, priority, snapshot.backlog.of(priority))
        for snapshot in snapshots
        for priority in Priority
    }
    yield family(
        definitions.QUEUE_SECONDS,
        [
            (labels, snapshot.figures.waits[priority])
            for labels, (snapshot, priority, _) in waiting.items()
        ],
    )
    yield family(
        definitions.QUEUE_TOKENS,
        [
            (labels, snapshot.backlog.waiting_tokens[priority])
            for labels, (snapshot, priority, _) in waiting.items()
        ],
    )
    yield family(
        definitions.QUEUE_TEXTS,
        [(labels, texts.texts) for labels, (_, _, texts) in waiting.items()],
    )
    yield family(
        definitions.QUEUE_AGE,
        [
            (labels, 0.0 if texts.since_s is None else max(0.0, snapshot.now_s - texts.since_s))
            for labels, (snapshot, _, texts) in waiting.items()
        ],
    )


def _info(snapshot: _Snapshot) -> tuple[str, ...]:
    checkpoint, traits = snapshot.model.checkpoint, snapshot.model.engine.traits
    return (
        snapshot.name,
        checkpoint.location,
        checkpoint.fingerprint,
        checkpoint.architecture,
        traits.precision.value,
        traits.execution.value,
        traits.layout.value,
        traits.device,
    )
