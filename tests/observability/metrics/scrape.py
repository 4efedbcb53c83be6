"""Reads metrics over HTTP and parses them, as Prometheus does."""

import http.client
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

from classwire_server.server import Server
from tests.contract.engines import PATIENCE_S


class Scrape:
    """All samples of a server at one instant."""

    def __init__(self, server: Server) -> None:
        self.families: dict[str, str] = {}
        self._samples: defaultdict[str, list[tuple[dict[str, str], float]]] = defaultdict(list)
        for family in text_string_to_metric_families(get(server)[1]):
            suffix = "_total" if family.type == "counter" else ""
            self.families[family.name + suffix] = family.type
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def values(self, name: str, **labels: str) -> list[float]:
        """Return all values of a metric that have these labels among others."""
        return [
            value
            for its_labels, value in self._samples[name]
            if labels.items() <= its_labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of these values."""
        return sum(self.values(name, **labels))

    def labels(self, name: str) -> list[dict[str, str]]:
        """Return the labels of each value of a metric."""
        return [labels for labels, _ in self._samples[name]]


def get(server: Server, path: str = "/metrics", verb: str = "GET") -> tuple[int, str]:
    """Request a path of the metrics port. Returns the HTTP status and the body."""
    connection = http.client.HTTPConnection(server.metrics_target, timeout=PATIENCE_S)
    try:
        connection.request(verb, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
