"""Builds prometheus-client's metric families from definitions and values."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TypeAlias

from prometheus_client import metrics_core
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from classwire_server.aggregates import Histogram

from .model_definitions import Metric

Family: TypeAlias = metrics_core.Metric
Sample = tuple[Sequence[str], float | Histogram]
"""The label values, in the order of the definition, and the metric's value."""


def family(metric: Metric, samples: Iterable[Sample]) -> Family:
    """Return a metric with its samples."""
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in samples:
            assert isinstance(value, Histogram)
            histogram.add_metric(labels, _buckets(value), value.sum)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    plain = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        assert not isinstance(value, Histogram)
        plain.add_metric(labels, value)
    return plain


def single(metric: Metric, value: float) -> Family:
    """Return a metric without labels."""
    return family(metric, [((), value)])


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
