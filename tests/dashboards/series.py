"""The series that a server exports, and those in a query."""

import re
from collections.abc import Iterator

from classwire_server.observability.metrics.definitions import METRICS

from .shipped import rules

SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
LABELS = {
    metric.name + suffix: {*metric.labels, *(("le",) if suffix == "_bucket" else ())}
    for metric in METRICS
    for suffix in SUFFIXES[metric.kind]
}
"""The labels of each series that a server exports, without those that Prometheus adds."""
ADDED = {"job", "instance"}
OF_PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity", "model"}}

WORDS = re.compile(r'"[^"]*"|\[[^]]*\]|[A-Za-z_:][\w:]*')


def series(expr: str) -> Iterator[str]:
    """Return the names of the series in a query."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    for word in WORDS.findall(expr):
        is_series = word.startswith(("classwire_", "process_")) or word in OF_PROMETHEUS
        if is_series or (":" in word and word[0] not in '"[' and word not in recorded):
            yield word
