"""What each model does and has done, read when it is asked for."""

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

from . import model_definitions as table
from .families import Family, Sample, family
from .model_definitions import Metric


class _Seen(NamedTuple):
    """A loaded model, as it is at one moment of the monotonic clock."""

    name: str
    model: ServedModel
    figures: Figures
    backlog: Backlog
    now_s: float


_VALUES: dict[Metric, Callable[[_Seen], float | Histogram]] = {
    table.SCORED: lambda seen: seen.figures.texts,
    table.TEXT_TOKENS: lambda seen: seen.figures.tokens,
    table.TEXTS_EXPIRED: lambda seen: seen.backlog.events.expired,
    table.TEXTS_CANCELLED: lambda seen: seen.backlog.events.cancelled,
    table.TEXTS_RETRIED: lambda seen: seen.backlog.events.retried,
    table.TEXTS_COALESCED: lambda seen: seen.backlog.events.coalesced,
    table.TOKENIZE_SECONDS: lambda seen: seen.figures.tokenize,
    table.DRAIN_RATE: lambda seen: seen.backlog.tokens_per_s,
    table.INFERENCE_SECONDS: lambda seen: seen.figures.pass_s,
    table.BATCH_TEXTS: lambda seen: seen.figures.pass_texts,
    table.BATCH_TOKENS: lambda seen: seen.figures.pass_tokens,
    table.BATCH_FILL: lambda seen: seen.figures.pass_fill,
    table.BATCH_CAPACITY: lambda seen: seen.model.dispatcher.batch_tokens,
    table.LANES: lambda seen: seen.model.engine.lanes,
    table.LANES_BUSY: lambda seen: seen.backlog.busy_lanes,
    table.CACHE_HITS: lambda seen: seen.backlog.events.cached,
    table.CACHE_ENTRIES: lambda seen: seen.backlog.cache_entries,
    table.CACHE_BYTES: lambda seen: seen.backlog.cache_bytes,
    table.SCORE_DEVIATION: lambda seen: seen.model.engine.deviation.max_score_difference,
    table.LABEL_AGREEMENT: lambda seen: seen.model.engine.deviation.label_agreement,
}
"""What is one value for each model."""


class ModelMetrics:
    """Collects what is known of all models; those that are not loaded have a state alone."""

    def __init__(self, registry: Registry, config: ServerConfig) -> None:
        self._registry = registry
        self._config = config

    def collect(self) -> Iterator[Family]:
        """Their metrics."""
        entries = self._registry.entries()
        states = {entry.source.name: entry.state()[0] for entry in entries}
        models = {entry.source.name: entry.served for entry in entries if entry.served}
        yield family(
            table.MODEL_STATE,
            [
                ((name, state.value), float(state is its_state))
                for name, its_state in states.items()
                for state in ModelState
            ],
        )
        all_seen = [_seen(name, model) for name, model in models.items()]
        for metric, value in _VALUES.items():
            yield family(metric, [((seen.name,), value(seen)) for seen in all_seen])
        yield family(table.TEXT_FAILURES, _each(all_seen, _failures))
        yield from _queues(all_seen)
        yield family(
            table.QUEUE_CAPACITY, [((name,), self._config.max_queue_tokens) for name in models]
        )
        yield family(
            table.CACHE_CAPACITY, [((name,), round(self._config.cache_mb * 1e6)) for name in models]
        )
        yield family(table.MODEL_INFO, [(_info(seen), 1) for seen in all_seen])


def _seen(name: str, model: ServedModel) -> _Seen:
    dispatcher = model.dispatcher
    return _Seen(name, model, dispatcher.statistics.read(), dispatcher.backlog(), time.monotonic())


def _each(
    all_seen: Sequence[_Seen], samples: Callable[[_Seen], Iterator[tuple[str, float | Histogram]]]
) -> Iterator[Sample]:
    """Samples of a metric that has one more label than the model's name."""
    for seen in all_seen:
        for label, value in samples(seen):
            yield (seen.name, label), value


def _failures(seen: _Seen) -> Iterator[tuple[str, float | Histogram]]:
    for reason in Reason:
        yield reason, seen.figures.reasons[reason]


def _queues(all_seen: Sequence[_Seen]) -> Iterator[Family]:
    waiting = {
        (seen.name, priority.value): (seen, priority, seen.backlog.of(priority))
        for seen in all_seen
        for priority in Priority
    }
    yield family(
        table.QUEUE_SECONDS,
        [(labels, seen.figures.waits[priority]) for labels, (seen, priority, _) in waiting.items()],
    )
    yield family(
        table.QUEUE_TOKENS,
        [
            (labels, seen.backlog.waiting_tokens[priority])
            for labels, (seen, priority, _) in waiting.items()
        ],
    )
    yield family(
        table.QUEUE_TEXTS, [(labels, texts.texts) for labels, (_, _, texts) in waiting.items()]
    )
    yield family(
        table.QUEUE_AGE,
        [
            (labels, 0.0 if texts.since_s is None else max(0.0, seen.now_s - texts.since_s))
            for labels, (seen, _, texts) in waiting.items()
        ],
    )


def _info(seen: _Seen) -> tuple[str, ...]:
    checkpoint, traits = seen.model.checkpoint, seen.model.engine.traits
    return (
        seen.name,
        checkpoint.location,
        checkpoint.fingerprint,
        checkpoint.architecture,
        traits.precision.value,
        traits.execution.value,
        traits.layout.value,
        traits.device,
    )
