"""Snapshots of a server's metrics, and the difference of two."""

import http.client
import re
import socket
import time
from collections import defaultdict
from collections.abc import Iterator

from classwire.cli.failures import Failure

TIMEOUT_S = 5.0
"""Longest time for the metrics port to answer."""

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")

Labels = dict[str, str]


class Snapshot:
    """All samples of one scrape; `at_s` is a time of the monotonic clock."""

    def __init__(self, text: str, at_s: float) -> None:
        self.at_s = at_s
        self._samples: defaultdict[str, list[tuple[Labels, float]]] = defaultdict(list)
        for line in text.splitlines():
            if found := _SAMPLE.match(line):
                name, labels, value = found.groups()
                self._samples[name].append((_labels(labels or ""), float(value)))

    def of(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """The labels and values of those of a metric's samples that have these labels."""
        for its_labels, value in self._samples.get(name, ()):
            if labels.items() <= its_labels.items():
                yield its_labels, value

    def sum(self, name: str, **labels: str) -> float:
        """The sum of these values; 0 without any."""
        return sum(value for _, value in self.of(name, **labels))

    def label(self, name: str, label: str, **labels: str) -> list[str]:
        """The distinct values of a label, in the order of the samples."""
        return list({its_labels[label]: None for its_labels, _ in self.of(name, **labels)})


class Window:
    """The time between two snapshots of one server.

    A counter that became smaller was reset to 0 in between, as when a model is loaded again.
    """

    def __init__(self, before: Snapshot, now: Snapshot) -> None:
        self.now = now
        self._before = before

    @property
    def seconds(self) -> float:
        """Its length; 0 if there is only one snapshot so far."""
        return self.now.at_s - self._before.at_s

    def rate(self, name: str, **labels: str) -> float | None:
        """Growth of a counter per second; None with only one snapshot."""
        return self._grown(name, **labels) / self.seconds if self.seconds else None

    def mean(self, name: str, **labels: str) -> float | None:
        """Mean of a histogram's new values; None without any."""
        count = self._grown(f"{name}_count", **labels)
        return self._grown(f"{name}_sum", **labels) / count if count else None

    def quantile(self, share: float, name: str, **labels: str) -> float | None:
        """A quantile of a histogram's new values, interpolated in its bucket; None without any.

        Above the last finite bound, it is that bound.
        """
        bucket = f"{name}_bucket"
        bounds = sorted(self.now.label(bucket, "le", **labels), key=float)
        below, low = 0.0, 0.0
        wanted = share * self._grown(bucket, **labels, le="+Inf")
        if not wanted:
            return None
        for bound in bounds[:-1]:
            count = self._grown(bucket, **labels, le=bound)
            if count >= wanted:
                return low + (float(bound) - low) * (wanted - below) / (count - below)
            below, low = count, float(bound)
        return low

    def _grown(self, name: str, **labels: str) -> float:
        before, now = self._before.sum(name, **labels), self.now.sum(name, **labels)
        return now - before if now >= before else now


def read(target: str) -> Snapshot:
    """Scrape a metrics port. Raises Failure if there is none."""
    connection = http.client.HTTPConnection(target, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
    except socket.gaierror as error:
        raise Failure(f"no metrics at {target}: {error.strerror}") from error
    except http.client.HTTPException as error:
        raise Failure(f"no metrics at {target}; what answers there is no HTTP server") from error
    except OSError as error:
        raise Failure(
            f"no metrics at {target}; `classwire serve --metrics-port 9464` turns them on"
        ) from error
    finally:
        connection.close()
    snapshot = Snapshot(text, time.monotonic())
    if response.status != 200 or not snapshot.label("classwire_build_info", "version"):
        raise Failure(f"the server at {target} is not a Classwire metrics port")
    return snapshot


def _labels(text: str) -> Labels:
    return {
        name: _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
        for name, value in _LABEL.findall(text)
    }
