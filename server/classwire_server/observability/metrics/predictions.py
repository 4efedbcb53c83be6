"""Metrics of what models say, and of their shadows, read at each scrape."""

from collections.abc import Iterator

from classwire_server.observability.shadow.figures import Comparison
from classwire_server.observability.shadow.shadows import Shadows
from classwire_server.registry.registry import Registry

from . import prediction_definitions as definitions
from .families import Family, family


class PredictionMetrics:
    """Collects the metrics of what the loaded models say."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Family]:
        """Yield these metrics."""
        figures = [
            (entry.source.name, entry.served.predictions.read())
            for entry in self._registry.entries()
            if entry.served is not None
        ]
        yield family(
            definitions.LABELS,
            [
                ((name, label), texts)
                for name, each in figures
                for label, texts in each.labels.items()
            ],
        )
        yield family(
            definitions.HIGHEST_SCORE,
            [((name,), each.scores) for name, each in figures if each.scores is not None],
        )
        yield family(
            definitions.SCORE_MARGIN,
            [((name,), each.margins) for name, each in figures if each.margins is not None],
        )
        yield family(
            definitions.STABILITY_INDEX,
            [
                ((name,), each.stability_index)
                for name, each in figures
                if each.stability_index is not None
            ],
        )
        yield family(
            definitions.WINDOW_TEXTS,
            [
                ((name,), each.window_texts)
                for name, each in figures
                if each.window_texts is not None
            ],
        )


class ShadowMetrics:
    """Collects the metrics of shadows."""

    def __init__(self, shadows: Shadows) -> None:
        self._shadows = shadows

    def collect(self) -> Iterator[Family]:
        """Yield these metrics."""
        figures = [
            ((model, shadow.source.other), shadow.read()) for model, shadow in self._shadows.items()
        ]
        yield family(
            definitions.SHADOW_TEXTS,
            [
                ((*labels, comparison.value), each.texts[comparison])
                for labels, each in figures
                for comparison in Comparison
            ],
        )
        yield family(
            definitions.SHADOW_DIFFERENCE, [(labels, each.differences) for labels, each in figures]
        )
        yield family(
            definitions.SHADOW_RUNNING,
            [(labels, float(each.is_running)) for labels, each in figures],
        )
