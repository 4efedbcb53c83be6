"""How long texts are queued in a server, from its metrics."""

import urllib.request

from prometheus_client.parser import text_string_to_metric_families

FAMILY = "classwire_queue_seconds"
TIMEOUT_S = 2.0


class QueueTime:
    """The mean queue time of the texts that a server has scored since the last question.

    For use by one thread.
    """

    def __init__(self, metrics: str) -> None:
        self._url = f"http://{metrics}/metrics"
        self._seconds = 0.0
        self._texts = 0.0

    def mean_s(self) -> float:
        """The mean in seconds; 0 if no text was scored. Raises OSError without an answer."""
        with urllib.request.urlopen(self._url, timeout=TIMEOUT_S) as page:
            seconds, texts = queued(page.read().decode())
        grown_s, grown_texts = seconds - self._seconds, texts - self._texts
        self._seconds, self._texts = seconds, texts
        return grown_s / grown_texts if grown_texts > 0 else 0.0


def queued(metrics: str) -> tuple[float, float]:
    """The sum of all queue times, in seconds, and the number of texts, of all models."""
    samples = [
        sample
        for family in text_string_to_metric_families(metrics)
        if family.name == FAMILY
        for sample in family.samples
    ]
    return (
        sum(sample.value for sample in samples if sample.name == f"{FAMILY}_sum"),
        sum(sample.value for sample in samples if sample.name == f"{FAMILY}_count"),
    )
